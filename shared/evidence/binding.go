package evidence

import (
	"crypto/sha256"
	"encoding/binary"
)

// The labels keep what is signed for one purpose from being taken for another.
const (
	quoteLabel   = "sentinel-quote-v1"
	certifyLabel = "sentinel-certify-v1"
)

// QuoteData is the qualifying data of a quote: SHA-256 over its label, the server's
// nonce, the device_id and the public key of the device's certificate (PKIX DER).
func QuoteData(nonce []byte, deviceID string, publicKey []byte) [sha256.Size]byte {
	return bind(quoteLabel, nonce, deviceID, publicKey)
}

// CertifyData is the qualifying data of the certification of the device's key, over
// the same things.
func CertifyData(nonce []byte, deviceID string, publicKey []byte) [sha256.Size]byte {
	return bind(certifyLabel, nonce, deviceID, publicKey)
}

// bind joins with the length of each part, so that no two lists of them give the
// same bytes.
func bind(label string, nonce []byte, deviceID string, publicKey []byte) [sha256.Size]byte {
	b := append([]byte(label), 0)
	for _, part := range [][]byte{nonce, []byte(deviceID), publicKey} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return sha256.Sum256(b)
}

// PCRDigest is what a quote says of PCRs with these values, in the order of their
// numbers (TPM 2.0 Part 1, section 17.5). Each value has the size of the bank's hash:
// nothing else says where one ends.
func PCRDigest(values [][]byte) [sha256.Size]byte {
	var b []byte
	for _, v := range values {
		b = append(b, v...)
	}
	return sha256.Sum256(b)
}
