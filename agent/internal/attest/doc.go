// Package attest brings the server evidence of the device's TPM: it is the Attester of
// RFC 9334.
//
// A round asks for a challenge, has the TPM answer it, and brings the evidence. It is
// about the certificate that the device shows, so that a new certificate is a reason
// for another round. A round that fails is tried again, and never stops heartbeats: the
// server judges what it does not hear of, too.
//
// What the agent knows of the machine by itself (Posture) is a fact that it reports with
// its heartbeats. It proves nothing: whoever owns the machine may have it say anything.
package attest
