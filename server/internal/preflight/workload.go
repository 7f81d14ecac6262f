package preflight

func workloadChecks() []Check {
	return []Check{
		{
			ID: "workload.one-time-use", Weight: Must, Title: "A workload assertion is accepted once",
			Why:      "One that was overheard is worth nothing then.",
			Settings: []string{"SENTINEL_WORKLOAD_ASSERTION_ONE_TIME_USE"}, Later: "workload clients",
		},
		{
			ID: "workload.bind-source-ip", Weight: Must, Title: "A workload assertion is accepted only from the address it was issued to",
			Why:      "One that was stolen must be used from the same place.",
			Settings: []string{"SENTINEL_WORKLOAD_ASSERTION_BIND_SOURCE_IP"}, Later: "workload clients",
		},
		{
			ID: "workload.signed-requests", Weight: Must, Title: "Sensitive workload clients sign their requests and present certificates",
			Why: "Rollout signals decide what thousands of devices install.", Later: "workload clients",
		},
		{
			ID: "workload.keys-together", Weight: Must, Title: "Keys that issue and keys that verify workload assertions belong together",
			Why: "A mismatch must be found at the start, not at the first request.", Later: "workload clients",
		},
	}
}
