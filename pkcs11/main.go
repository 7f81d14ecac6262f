// Sentinel-pkcs11 signs with keys that lie in a hardware security module, through the
// module's PKCS#11 library. sentinel-server starts it as an external signer
// (docs/signers.md); it is a program of its own because such a library is loaded by C,
// which the server and the agent stay free of.
//
// It reads one request on its input, writes one answer and ends. It holds no key, and
// the PIN comes from a file that only its user may read.
package main

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sentinel-secure-x/sentinel-secure-x/shared/extsign"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/files"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/version"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// Exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

const usage = `usage: sentinel-pkcs11 [sign|public|generate] --module LIBRARY --token LABEL --key LABEL --pin-file FILE

  sign      answer the one request on the input (the default): how sentinel-server starts it
  public    print the public key in PEM
  generate  make a key that cannot be taken out (--algorithm), and print its public key

`

// options are what a command line says.
type options struct {
	module, token, key, pinFile, algorithm string
}

// Algorithms of keys that are made.
const (
	edwards = "ed25519"
	p256    = "ecdsa-p256"
	p384    = "ecdsa-p384"
)

// module is an opened token.
type module interface {
	// Key finds the one key pair with a label.
	Key(label string) (crypto.Signer, error)
	// Generate makes a key pair that stays in the token.
	Generate(label, algorithm string) error
	Close() error
}

func run(args []string, in io.Reader, out, complaints io.Writer) int {
	verb := "sign"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	var o options
	var showVersion bool
	f := flag.NewFlagSet("sentinel-pkcs11", flag.ContinueOnError)
	f.SetOutput(complaints)
	f.Usage = func() { fmt.Fprint(complaints, usage); f.PrintDefaults() }
	f.StringVar(&o.module, "module", "", "the PKCS#11 library of the security module")
	f.StringVar(&o.token, "token", "", "label of the token")
	f.StringVar(&o.key, "key", "", "label of the key pair")
	f.StringVar(&o.pinFile, "pin-file", "", "file with the user's PIN, mode 0600")
	f.StringVar(&o.algorithm, "algorithm", p256, "with generate: "+edwards+", "+p256+" or "+p384)
	f.BoolVar(&showVersion, "version", false, "print the version")
	if err := f.Parse(args); err != nil {
		return exitUsage
	}
	if showVersion {
		fmt.Fprintln(out, "sentinel-pkcs11 "+version.Version)
		return exitOK
	}
	act := map[string]func(options, io.Reader, io.Writer) error{"sign": sign, "public": public, "generate": generate}[verb]
	if act == nil || f.NArg() > 0 || o.module == "" || o.token == "" || o.key == "" || o.pinFile == "" {
		f.Usage()
		return exitUsage
	}
	if err := act(o, in, out); err != nil {
		fmt.Fprintln(complaints, "sentinel-pkcs11: "+err.Error())
		return exitError
	}
	return exitOK
}

// sign answers one request. The token is opened only for one that can be read.
func sign(o options, in io.Reader, out io.Writer) error {
	var opened module
	err := extsign.Serve(in, out, func() (crypto.Signer, error) {
		var err error
		if opened, err = o.open(); err != nil {
			return nil, err
		}
		return opened.Key(o.key)
	})
	if opened != nil {
		err = errors.Join(err, opened.Close())
	}
	return err
}

func public(o options, _ io.Reader, out io.Writer) (err error) {
	m, err := o.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	return o.print(m, out)
}

func generate(o options, _ io.Reader, out io.Writer) (err error) {
	m, err := o.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if _, err := m.Key(o.key); !errors.Is(err, errNoKey) {
		return errors.Join(err, fmt.Errorf("a key with the label %s is there already; choose another --key", o.key))
	}
	if err := m.Generate(o.key, o.algorithm); err != nil {
		return err
	}
	return o.print(m, out)
}

var errNoKey = errors.New("the token has no key pair with this label")

func (o options) print(m module, out io.Writer) error {
	key, err := m.Key(o.key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return pem.Encode(out, &pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

const maxPIN = 256

// open opens the token with the PIN in the file.
func (o options) open() (module, error) {
	pin, err := files.ReadPrivateOf(o.pinFile, maxPIN)
	if err != nil {
		return nil, err
	}
	text := strings.TrimRight(string(pin), "\r\n")
	if text == "" {
		return nil, fmt.Errorf("%s is empty; write the PIN into it", o.pinFile)
	}
	return openToken(o.module, o.token, text)
}
