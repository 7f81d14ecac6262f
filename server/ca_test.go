package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/servertest"
)

// What others need to verify a certificate comes as files.
func TestTheCertificatesOfTheAuthorities(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	s.Round() // the authorities come with their lists, and those are made after the start
	dir := filepath.Join(t.TempDir(), "pki")
	at(t, s, s.Person("vera", "viewer")).must("ca", "certificates", "--out", dir)
	read := func(name string) (list []*x509.Certificate) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, cert)
		}
		return list
	}
	root := read("root.pem")
	if len(root) != 1 || len(read("chain.pem")) != 3 {
		t.Fatal("not one root, or not three in all")
	}
	for _, name := range []string{"device-ca.pem", "server-ca.pem"} {
		if ca := read(name); len(ca) != 1 || ca[0].CheckSignatureFrom(root[0]) != nil {
			t.Errorf("%s is not the root's", name)
		}
	}
}
