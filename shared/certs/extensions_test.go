package certs

// extension writes one X.509 extension.
func extension(oid []byte, critical bool, value []byte) []byte {
	if critical {
		return tlv(0x30, oid, []byte{0x01, 0x01, 0xff}, tlv(0x04, value))
	}
	return tlv(0x30, oid, tlv(0x04, value))
}

// oddExtensions are what a request could ask for, by what it would give.
func oddExtensions() map[string][]byte {
	san := oidDER(2, 5, 29, 17)
	usage := oidDER(2, 5, 29, 37)
	purpose := func(last int) []byte { return tlv(0x30, oidDER(1, 3, 6, 1, 5, 5, 7, 3, last)) }
	uri := func(s string) []byte { return tlv(0x30, tlv(0x86, []byte(s))) }
	text := tlv(0x0c, []byte("x"))
	location := tlv(0x86, []byte("http://example.org/crl"))
	return map[string][]byte{
		"its own URI":                       extension(san, false, uri(DeviceURI(testDomain, testDevice))),
		"another device's URI":              extension(san, false, uri(DeviceURI(testDomain, "edge-2"))),
		"a URI of another domain":           extension(san, true, uri(DeviceURI("evil.example", testDevice))),
		"a DNS name":                        extension(san, false, tlv(0x30, tlv(0x82, []byte("server.example.org")))),
		"a wildcard DNS name":               extension(san, false, tlv(0x30, tlv(0x82, []byte("*")))),
		"an IPv4 address":                   extension(san, false, tlv(0x30, tlv(0x87, []byte{127, 0, 0, 1}))),
		"an IPv6 address":                   extension(san, false, tlv(0x30, tlv(0x87, make([]byte, 16)))),
		"an email address":                  extension(san, false, tlv(0x30, tlv(0x81, []byte("a@example.org")))),
		"a registered id":                   extension(san, false, tlv(0x30, tlv(0x88, []byte{42, 3}))),
		"a directory name":                  extension(san, false, tlv(0x30, tlv(0xa4, commonName(tagUTF8String, "edge-2")))),
		"a principal name":                  extension(san, false, tlv(0x30, tlv(0xa0, oidDER(1, 3, 6, 1, 4, 1, 311, 20, 2, 3), tlv(0xa0, text)))),
		"an empty list of names":            extension(san, false, tlv(0x30)),
		"to be a CA":                        extension(oidDER(2, 5, 29, 19), true, tlv(0x30, []byte{1, 1, 0xff})),
		"to be a CA with path length":       extension(oidDER(2, 5, 29, 19), true, tlv(0x30, []byte{1, 1, 0xff, 2, 1, 3})),
		"not to be a CA":                    extension(oidDER(2, 5, 29, 19), true, tlv(0x30)),
		"to sign certificates":              extension(oidDER(2, 5, 29, 15), true, []byte{3, 2, 2, 4}),
		"to sign CRLs":                      extension(oidDER(2, 5, 29, 15), true, []byte{3, 2, 1, 2}),
		"to sign data":                      extension(oidDER(2, 5, 29, 15), true, []byte{3, 2, 7, 0x80}),
		"to serve":                          extension(usage, false, purpose(1)),
		"to be a client":                    extension(usage, false, purpose(2)),
		"to sign code":                      extension(usage, false, purpose(3)),
		"to stamp time":                     extension(usage, false, purpose(8)),
		"to answer OCSP":                    extension(usage, false, purpose(9)),
		"any usage":                         extension(usage, false, tlv(0x30, oidDER(2, 5, 29, 37, 0))),
		"no usage":                          extension(usage, false, tlv(0x30)),
		"a smart-card logon":                extension(usage, false, tlv(0x30, oidDER(1, 3, 6, 1, 4, 1, 311, 20, 2, 2))),
		"name constraints":                  extension(oidDER(2, 5, 29, 30), true, tlv(0x30, tlv(0xa0, tlv(0x30, tlv(0x82))))),
		"policies":                          extension(oidDER(2, 5, 29, 32), false, tlv(0x30, tlv(0x30, oidDER(2, 5, 29, 32, 0)))),
		"policy mappings":                   extension(oidDER(2, 5, 29, 33), true, tlv(0x30)),
		"policy constraints":                extension(oidDER(2, 5, 29, 36), true, tlv(0x30, tlv(0x80, []byte{0}))),
		"no policy":                         extension(oidDER(2, 5, 29, 54), true, []byte{2, 1, 0}),
		"a period of use of 100 years":      extension(oidDER(2, 5, 29, 16), false, tlv(0x30, tlv(0x81, []byte("21260301120000Z")))),
		"a subject key identifier":          extension(oidDER(2, 5, 29, 14), false, tlv(4, make([]byte, 20))),
		"an authority key identifier":       extension(oidDER(2, 5, 29, 35), false, tlv(0x30, tlv(0x80, make([]byte, 20)))),
		"another issuer's name":             extension(oidDER(2, 5, 29, 18), false, uri("https://example.org")),
		"a place for CRLs":                  extension(oidDER(2, 5, 29, 31), false, tlv(0x30, tlv(0x30, tlv(0xa0, tlv(0xa0, location))))),
		"a place for delta CRLs":            extension(oidDER(2, 5, 29, 46), false, tlv(0x30, tlv(0x30, tlv(0xa0, tlv(0xa0, location))))),
		"an OCSP responder":                 extension(oidDER(1, 3, 6, 1, 5, 5, 7, 1, 1), false, tlv(0x30, tlv(0x30, oidDER(1, 3, 6, 1, 5, 5, 7, 48, 1), location))),
		"a repository":                      extension(oidDER(1, 3, 6, 1, 5, 5, 7, 1, 11), false, tlv(0x30, tlv(0x30, oidDER(1, 3, 6, 1, 5, 5, 7, 48, 5), location))),
		"directory attributes":              extension(oidDER(2, 5, 29, 9), false, tlv(0x30)),
		"no OCSP check":                     extension(oidDER(1, 3, 6, 1, 5, 5, 7, 48, 1, 5), false, []byte{5, 0}),
		"to staple":                         extension(oidDER(1, 3, 6, 1, 5, 5, 7, 1, 24), false, tlv(0x30, []byte{2, 1, 5})),
		"transparency poison":               extension(oidDER(1, 3, 6, 1, 4, 1, 11129, 2, 4, 3), true, []byte{5, 0}),
		"a vendor's template":               extension(oidDER(1, 3, 6, 1, 4, 1, 311, 20, 2), false, tlv(0x1e, []byte("\x00C\x00A"))),
		"a vendor's template, version 2":    extension(oidDER(1, 3, 6, 1, 4, 1, 311, 21, 7), false, tlv(0x30, oidDER(1, 2, 3))),
		"a vendor's security identifier":    extension(oidDER(1, 3, 6, 1, 4, 1, 311, 25, 2), false, tlv(0x30)),
		"an old vendor's certificate type":  extension(oidDER(2, 16, 840, 1, 113730, 1, 1), false, []byte{3, 2, 0, 0xff}),
		"a role for a mesh":                 extension(oidDER(1, 3, 6, 1, 4, 1, 99999, 1), false, text),
		"an unknown extension, critical":    extension(oidDER(1, 2, 3, 4, 5), true, text),
		"an unknown extension, not so":      extension(oidDER(1, 2, 3, 4, 5), false, text),
		"an unknown extension without data": extension(oidDER(1, 2, 3, 4, 6), false, nil),
	}
}
