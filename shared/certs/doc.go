// Package certs is what both sides must agree on about X.509: which keys are
// taken, what a request may say, what a certificate says, how one is judged, and
// the TLS configurations that carry them.
//
// The authorities: one root signs issuing CAs and nothing else. An issuing CA
// serves one Kind, by its extended key usage and its name constraints: devices
// (client certificates, named by a URI in the trust domain) or the server's own
// names. The two kinds never share a key or a trust pool. Relying sides trust
// the issuing CAs themselves, not the root, so a new one of the root's making is
// believed only when the fleet root names it.
//
// A device's certificate says one thing: this key belongs to device_id. It says
// it in one spelling, as common name and as URI, and no certificate that says
// more, less or otherwise is a device's. What a request asks for never reaches
// the certificate, only its public key does; a request that asks for anything is
// refused. Certificates are built from a template, and code that shares nothing
// with the builder (LintDevice, LintServer, LintResponder) compares them with the
// template before they leave.
//
// Authority: IssueDevice and IssueServer sign what they are given. Whether the
// device may have a certificate is decided by the caller.
package certs
