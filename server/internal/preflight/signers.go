package preflight

// signerChecks are about keys that are not files. This version signs with files only.
func signerChecks() []Check {
	return []Check{{
		ID: "keys.external-signers", Weight: Should, Title: "Keys are used by an external command or an HSM, where there is one",
		Why: "A key that the server can only use cannot be copied from it.", Later: "external signers",
	}}
}
