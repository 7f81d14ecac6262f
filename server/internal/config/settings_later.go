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

	WorkloadAssertionSigningKeyFile string `env:"SENTINEL_WORKLOAD_ASSERTION_SIGNING_KEY_FILE" check:"path" example:"/etc/sentinel/keys/workload-assertion.pem" reserved:"true" doc:"The Ed25519 private key that signs workload assertions."`
	TrustAssertionSigningKeyFile    string `env:"SENTINEL_TRUST_ASSERTION_SIGNING_KEY_FILE" check:"path" example:"/etc/sentinel/keys/trust-assertion.pem" reserved:"true" doc:"The Ed25519 private key that signs trust assertions."`
	IncidentPolicySigningKeyFile    string `env:"SENTINEL_INCIDENT_POLICY_SIGNING_KEY_FILE" check:"path" example:"/etc/sentinel/keys/incident-policy.pem" reserved:"true" doc:"The Ed25519 private key that signs incident policy bundles."`
	BackupManifestSigningKeyFile    string `env:"SENTINEL_BACKUP_MANIFEST_SIGNING_KEY_FILE" check:"path" example:"/etc/sentinel/keys/backup-manifest.pem" reserved:"true" doc:"The Ed25519 private key that signs backup manifests."`
	EvidenceExportSigningKeyFile    string `env:"SENTINEL_EVIDENCE_EXPORT_SIGNING_KEY_FILE" check:"path" example:"/etc/sentinel/keys/evidence-export.pem" reserved:"true" doc:"The Ed25519 private key that signs evidence exports."`
}
