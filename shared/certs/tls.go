package certs

import (
	"crypto/tls"
	"crypto/x509"
)

// protocols of a connection between agent and server. HTTP/2 is left out on
// purpose: an agent has one request in flight, so it would gain nothing, while
// streams, header tables and control frames are memory and attack surface per
// connection on a server that holds one for each device. (A net/http server adds
// "h2" by itself unless its Protocols field says HTTP/1 only.)
func protocols() []string { return []string{"http/1.1"} }

// ServerTLS is for the machine listener. It asks for a client certificate and
// takes any or none, only making sure that the caller holds its key: chain,
// dates and revocation are judged at every request (VerifyDevice), so that an
// expired device gets an answer that it can act on. No session is resumed, since
// a resumed one would bring the certificate of an earlier handshake.
func ServerTLS(getCert func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		ClientAuth:             tls.RequestClientCert,
		SessionTicketsDisabled: true,
		NextProtos:             protocols(),
		GetCertificate:         getCert,
	}
}

// ClientTLS is for the agent. It believes the given CAs and the exact name, never
// the system's pool: with no CAs it believes nobody. getCert may be nil before
// enrollment.
func ClientTLS(serverCAs []*x509.Certificate, serverName string, getCert func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		RootCAs:              pool(serverCAs...), // never nil, which would mean the system's
		ServerName:           serverName,
		NextProtos:           protocols(),
		GetClientCertificate: getCert,
	}
}

func pool(cas ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range cas {
		p.AddCert(c)
	}
	return p
}
