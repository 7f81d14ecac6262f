package main

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// identity is a device as it lies in fleetsim's directory.
type identity struct {
	DeviceID     string `json:"device_id"`
	EnrollmentID string `json:"enrollment_id"`
	ServerCA     []byte `json:"server_ca"`
	Enrolled     struct {
		Epoch string `json:"epoch"`
	} `json:"enrolled"`

	dir         string
	certificate tls.Certificate
	issuer      *x509.Certificate
	serverCA    *x509.Certificate
}

func readIdentities(dir string) ([]*identity, error) {
	dirs, err := filepath.Glob(filepath.Join(dir, "devices", "*"))
	if err != nil {
		return nil, err
	}
	slices.Sort(dirs)
	list := make([]*identity, len(dirs))
	for i, d := range dirs {
		if list[i], err = readIdentity(d); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func readIdentity(dir string) (*identity, error) {
	var journal struct{ State *identity }
	data, err := os.ReadFile(filepath.Join(dir, "journal.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &journal); err != nil {
		return nil, err
	}
	id := journal.State
	id.dir = dir
	if data, err = os.ReadFile(filepath.Join(dir, "certificate.pem")); err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		id.certificate.Certificate = append(id.certificate.Certificate, block.Bytes)
	}
	if data, err = os.ReadFile(filepath.Join(dir, "device.key")); err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || len(id.certificate.Certificate) < 2 {
		return nil, errors.New(dir + " is not a device")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	id.certificate.PrivateKey = key
	if id.issuer, err = x509.ParseCertificate(id.certificate.Certificate[1]); err != nil {
		return nil, err
	}
	id.serverCA, err = x509.ParseCertificate(id.ServerCA)
	return id, err
}

func (id *identity) signer() crypto.Signer {
	s, _ := id.certificate.PrivateKey.(crypto.Signer)
	return s
}
