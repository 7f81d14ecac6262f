package signing

import "slices"

// Purpose is what a signature is for. It stands in the payload type that is
// signed and in the key record, and both must agree.
type Purpose string

// Every purpose there is. A new one is added here and nowhere else.
const (
	PurposeFleetRoot         Purpose = "fleet-root"         // names the root and policy keys, and the CAs
	PurposePolicyBundle      Purpose = "policy-bundle"      // names the command keys and the allowed kinds
	PurposeCommand           Purpose = "command"            // what devices are to do
	PurposeApproval          Purpose = "approval"           // a person's consent to one statement
	PurposeEnrollPoll        Purpose = "enroll-poll"        // by the device: its key asks for its certificate
	PurposeResult            Purpose = "result"             // by the device: what became of a command
	PurposeEvidence          Purpose = "evidence"           // by the device: its state
	PurposeTrustAssertion    Purpose = "trust-assertion"    // the verdict on a device, for other systems
	PurposeWorkloadAssertion Purpose = "workload-assertion" // the identity of a workload
	PurposeIncidentTemplate  Purpose = "incident-template"  // prepared answers to incidents
	PurposeBackupManifest    Purpose = "backup-manifest"    // what a backup holds
	PurposeEvidenceExport    Purpose = "evidence-export"    // records handed to an auditor
	PurposeAuditCheckpoint   Purpose = "audit-checkpoint"   // the head of the audit log
	PurposeRenewal           Purpose = "renewal"            // by the device's old and new key
)

var purposes = []Purpose{
	PurposeFleetRoot, PurposePolicyBundle, PurposeCommand, PurposeApproval,
	PurposeEnrollPoll, PurposeResult, PurposeEvidence, PurposeTrustAssertion,
	PurposeWorkloadAssertion, PurposeIncidentTemplate, PurposeBackupManifest,
	PurposeEvidenceExport, PurposeAuditCheckpoint, PurposeRenewal,
}

// Purposes lists every purpose.
func Purposes() []Purpose { return slices.Clone(purposes) }

// PayloadType is the DSSE payload type of the purpose.
func (p Purpose) PayloadType() string {
	return "application/vnd.sentinel-secure-x." + string(p) + ".v1+json"
}

func (p Purpose) known() bool { return slices.Contains(purposes, p) }
