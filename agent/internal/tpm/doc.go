// Package tpm speaks to the TPM of the device.
//
// Nothing is stored in the TPM. Its endorsement key and the attestation key are made
// anew from its seed by their templates, each time the same ones; the certificate of
// the endorsement key is read from where the maker put it. A device's own key may be
// kept by the TPM too: then the file of the key holds what the TPM encrypted to
// itself, and is worth nothing elsewhere.
//
// The owner's and the endorsement hierarchy are used with empty passwords, as they are
// unless somebody set one. On Linux the TPM is a device file with the kernel's resource
// manager (/dev/tpmrm0), or the socket of a software TPM for tests; on Windows it is
// reached through the TPM Base Services.
package tpm
