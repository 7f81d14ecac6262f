package config

// Later holds the reserved settings. Each is known from the start, so that an
// environment written for the whole product is never refused as unknown.
type Later struct {
	WorkloadAssertionOneTimeUse   bool `section:"Reserved: known and checked, but not in effect in this build" env:"SENTINEL_WORKLOAD_ASSERTION_ONE_TIME_USE" default:"true" reserved:"true" doc:"A workload assertion is accepted once."`
	WorkloadAssertionBindSourceIP bool `env:"SENTINEL_WORKLOAD_ASSERTION_BIND_SOURCE_IP" default:"true" reserved:"true" doc:"A workload assertion is accepted only from the address it was issued to."`
	IncidentPolicyDirectImport    bool `env:"SENTINEL_INCIDENT_POLICY_TEMPLATE_DIRECT_IMPORT_ENABLED" default:"false" reserved:"true" doc:"Incident policy templates may be imported without a reviewed request."`

	DualApprovalPolicyExceptions int `env:"SENTINEL_DUAL_APPROVAL_POLICY_EXCEPTIONS" default:"2" min:"1" max:"9" reserved:"true" doc:"How many people approve a policy exception."`
	DualApprovalRecovery         int `env:"SENTINEL_DUAL_APPROVAL_RECOVERY" default:"2" min:"1" max:"9" reserved:"true" doc:"How many people approve a recovery."`
	DualApprovalUpdateCampaigns  int `env:"SENTINEL_DUAL_APPROVAL_UPDATE_CAMPAIGNS" default:"2" min:"1" max:"9" reserved:"true" doc:"How many people approve an update campaign."`

	RequireDeliveryWorker    bool `env:"SENTINEL_REQUIRE_DELIVERY_WORKER" default:"false" reserved:"true" doc:"The server is ready only while a delivery worker runs."`
	RequireMaintenanceWorker bool `env:"SENTINEL_REQUIRE_MAINTENANCE_WORKER" default:"false" reserved:"true" doc:"The server is ready only while a maintenance worker runs."`
	RequireJobCoordinator    bool `env:"SENTINEL_REQUIRE_JOB_COORDINATOR" default:"false" reserved:"true" doc:"The server is ready only while a job coordinator runs."`
	RequireCampaignScheduler bool `env:"SENTINEL_REQUIRE_CAMPAIGN_SCHEDULER" default:"false" reserved:"true" doc:"The server is ready only while a campaign scheduler runs."`

	SignerIncidentTemplate KeySource `env:"SENTINEL_SIGNER_INCIDENT_TEMPLATE" check:"some-source" example:"file:/etc/sentinel/keys/incident-template.key" reserved:"true" doc:"The key that signs incident policy bundles."`
	SignerBackupManifest   KeySource `env:"SENTINEL_SIGNER_BACKUP_MANIFEST" check:"some-source" example:"file:/etc/sentinel/keys/backup-manifest.key" reserved:"true" doc:"The key that signs backup manifests."`
	SignerEvidenceExport   KeySource `env:"SENTINEL_SIGNER_EVIDENCE_EXPORT" check:"some-source" example:"file:/etc/sentinel/keys/evidence-export.key" reserved:"true" doc:"The key that signs evidence exports."`
	SignerAuditCheckpoint  KeySource `env:"SENTINEL_SIGNER_AUDIT_CHECKPOINT" check:"some-source" example:"file:/etc/sentinel/keys/audit-checkpoint.key" reserved:"true" doc:"The key that signs checkpoints of the audit log."`
}
