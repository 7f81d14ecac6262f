package protocol

import (
	"encoding/json"
	"time"
)

// Version is the protocol version that this code speaks. Both sides send it in
// every request, and the server refuses one that it does not know.
const Version = 1

// The device API. Every path is on the machine listener.
const (
	PathEnroll    = "/api/enroll"
	PathHeartbeat = "/api/heartbeat"
	PathRenew     = "/api/certificate/renew"
)

// EnrollPollPath is where the device asks after the enrollment with this id.
func EnrollPollPath(enrollmentID string) string { return PathEnroll + "/" + enrollmentID }

// EnrollRequest asks to let a device in (POST PathEnroll, no client
// certificate). The same request may be sent again after a lost answer: the
// enrollment_id and the CSR decide that it is the same one.
type EnrollRequest struct {
	Protocol     int    `json:"protocol"`
	EnrollmentID string `json:"enrollment_id"`   // made by the agent, see NewID
	DeviceID     string `json:"device_id"`       // see CheckDeviceID
	Token        string `json:"token,omitempty"` // secret, shown once to the operator
	CSR          []byte `json:"csr,omitempty"`   // PKCS#10 in DER (RFC 2986)
	Facts        Facts  `json:"facts,omitempty"`

	// Recovery is the way back of a device whose certificate has expired or is lost: the
	// envelope of a signing.Renewal, in place of token and CSR. EnrollmentID is the
	// renewal's request_id then; the device keeps the enrollment that it has.
	Recovery json.RawMessage `json:"recovery,omitempty"`
	// Certificate is the one whose key signed the recovery, in DER: a server that came
	// from a backup may not have it.
	Certificate []byte `json:"certificate,omitempty"`
}

// EnrollState is where an enrollment stands.
type EnrollState string

// An enrollment is pending until a person decides, approved until the device
// fetches its certificate, then issued. Rejected and expired are final.
const (
	EnrollPending  EnrollState = "pending"
	EnrollApproved EnrollState = "approved"
	EnrollIssued   EnrollState = "issued"
	EnrollRejected EnrollState = "rejected"
	EnrollExpired  EnrollState = "expired"
)

// EnrollAnswer says that the request is stored (202).
type EnrollAnswer struct {
	EnrollmentID     string      `json:"enrollment_id"`
	State            EnrollState `json:"state"`
	KeyCode          string      `json:"key_code"`           // what the reviewer compares with the device's own print
	Nonce            string      `json:"nonce"`              // to be put in the next EnrollPoll
	PollAfterSeconds int         `json:"poll_after_seconds"` // not sooner than this
}

// EnrollPoll is the payload of the signed envelope that the device posts to
// EnrollPollPath (purpose signing.PurposeEnrollPoll). It proves possession of
// the key and names the server CA that the device sees, so that someone in
// the middle is noticed.
type EnrollPoll struct {
	EnrollmentID  string `json:"enrollment_id"`
	Nonce         string `json:"nonce"`
	CAFingerprint string `json:"ca_fingerprint"` // SHA-256 of the server's issuing CA certificate, lower-case hex
}

// EnrollResult answers a poll. Everything below Reason is there in state
// issued only.
type EnrollResult struct {
	EnrollmentID     string      `json:"enrollment_id"`
	State            EnrollState `json:"state"`
	Nonce            string      `json:"nonce,omitempty"`
	PollAfterSeconds int         `json:"poll_after_seconds,omitempty"`
	Reason           string      `json:"reason,omitempty"` // why it was rejected

	Certificates    [][]byte          `json:"certificates,omitempty"`     // DER, the device's first, then its issuer
	FleetRoots      []json.RawMessage `json:"fleet_roots,omitempty"`      // envelopes, version 1 first
	PolicyBundle    json.RawMessage   `json:"policy_bundle,omitempty"`    // envelope of the bundle in force
	Epoch           string            `json:"epoch,omitempty"`            // restore epoch to start heartbeats in
	IntervalSeconds int               `json:"interval_seconds,omitempty"` // between heartbeats
	ServerTime      time.Time         `json:"server_time,omitzero"`
}

// Heartbeat is one sign of life (POST PathHeartbeat over mutual TLS).
type Heartbeat struct {
	Protocol      int    `json:"protocol"`
	DeviceID      string `json:"device_id"`
	EnrollmentID  string `json:"enrollment_id"`
	Counter       int64  `json:"counter"` // 1 to MaxCounter, higher than any sent before
	Epoch         string `json:"epoch"`
	BootID        string `json:"boot_id"` // new each time the agent starts
	AgentVersion  string `json:"agent_version"`
	PolicyVersion int64  `json:"policy_version,omitempty"` // of the bundle in force on the device
	RootVersion   int64  `json:"root_version,omitempty"`   // of the pinned fleet root
	FirstUse      bool   `json:"first_use,omitempty"`      // the fleet root was trusted on first use
	Nonce         string `json:"nonce,omitempty"`          // the last one received
	Receipt       string `json:"receipt,omitempty"`        // the last one received
	Facts         Facts  `json:"facts,omitempty"`          // only when changed

	Acks    []string          `json:"acks,omitempty"`    // action ids that the device has written down
	Results []json.RawMessage `json:"results,omitempty"` // envelopes of signing.CommandResult, until they are stored
}

// HeartbeatAnswer says that the heartbeat is stored for good.
type HeartbeatAnswer struct {
	Counter         int64     `json:"counter"` // the one accepted
	Epoch           string    `json:"epoch"`
	ServerTime      time.Time `json:"server_time"`
	IntervalSeconds int       `json:"interval_seconds"`
	Nonce           string    `json:"nonce"`
	Receipt         string    `json:"receipt"`
	PolicyVersion   int64     `json:"policy_version"` // in force on the server
	RootVersion     int64     `json:"root_version"`   // newest on the server

	// What is newer than the device says it has, the oldest first.
	FleetRoots    []json.RawMessage `json:"fleet_roots,omitempty"`
	PolicyBundles []json.RawMessage `json:"policy_bundles,omitempty"`

	Commands      []CommandDelivery `json:"commands,omitempty"`       // until the device has acknowledged them
	ResultsStored []string          `json:"results_stored,omitempty"` // action ids whose results need not be sent again
	Renew         bool              `json:"renew,omitempty"`          // the device should renew its certificate now
}

// CommandDelivery is a command on its way to one device. What counts is the
// statement; the id beside it is what a device reports a refusal under when it
// cannot believe the statement.
type CommandDelivery struct {
	ActionID  string          `json:"action_id"`
	Statement json.RawMessage `json:"statement"`       // envelope of a signing.CommandStatement
	Proof     json.RawMessage `json:"proof,omitempty"` // signing.Proof, where the statement names a tree
}

// RenewAnswer answers a renewal (POST PathRenew over mutual TLS; the body is the
// envelope of a signing.Renewal). The same request again gets the same answer.
type RenewAnswer struct {
	RequestID         string            `json:"request_id"`
	State             EnrollState       `json:"state"` // pending, issued, rejected or expired
	Reason            string            `json:"reason,omitempty"`
	RetryAfterSeconds int               `json:"retry_after_seconds,omitempty"` // while pending
	Certificates      [][]byte          `json:"certificates,omitempty"`        // DER, the device's first, then its issuer
	FleetRoots        []json.RawMessage `json:"fleet_roots,omitempty"`         // the whole chain: the issuer may be new to the device
}

// Facts are what a device says of itself: self-reported, never a reason to
// trust it. See Limits.
type Facts map[string]string
