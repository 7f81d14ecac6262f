package preflight

import "strconv"

// Sections are the whole checklist: the points of the production profile, in its
// order, and those of the trust model.
func Sections() []Section {
	return []Section{
		{"The profile", profileChecks()},
		{"Network boundary", concat(networkChecks(), proxyChecks(), listenerChecks())},
		{"Secrets and files", secretChecks()},
		{"Keys out of reach", concat(keyChecks(), signerChecks())},
		{"Enrollment and identity", concat(enrollmentChecks(), externalCAChecks())},
		{"Workload trust", workloadChecks()},
		{"People and change management", concat(peopleChecks(), changeChecks())},
		{"Background services", serviceChecks()},
		{"Database", databaseChecks()},
	}
}

func concat(lists ...[]Check) (all []Check) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func itoa(n int) string { return strconv.Itoa(n) }
