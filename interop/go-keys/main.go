// Command go-keys makes and opens sealed key files with the package that cosign itself uses for them, so that
// Writ's own implementation is judged by another one.
//
//	go-keys generate p256|ed25519 standard|legacy|owasp KEY PUB    passphrase in COSIGN_PASSWORD
//	go-keys open KEY                                               prints the public key as PEM
//	go-keys sign KEY MESSAGE SIGNATURE                             signs the file MESSAGE
//	go-keys verify PUB MESSAGE SIGNATURE                           exit 0 when it is good
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
)

// The labels of cosign 2 and of cosign 1.
const (
	label    = "ENCRYPTED SIGSTORE PRIVATE KEY"
	oldLabel = "ENCRYPTED COSIGN PRIVATE KEY"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "go-keys:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 5 && args[0] == "generate":
		return generate(args[1], args[2], args[3], args[4])
	case len(args) == 2 && args[0] == "open":
		key, err := open(args[1])
		if err != nil {
			return err
		}
		text, err := public(key)
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(text)
		return err
	case len(args) == 4 && args[0] == "sign":
		return sign(args[1], args[2], args[3])
	case len(args) == 4 && args[0] == "verify":
		return verify(args[1], args[2], args[3])
	}
	return fmt.Errorf("generate KIND COST KEY PUB, open KEY, sign KEY MESSAGE SIGNATURE or verify PUB MESSAGE SIGNATURE")
}

func passphrase() []byte {
	return []byte(os.Getenv("COSIGN_PASSWORD"))
}

func generate(kind, cost, keyFile, pubFile string) error {
	var key crypto.Signer
	var err error
	switch kind {
	case "p256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		return fmt.Errorf("unknown kind %q", kind)
	}
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	var sealed []byte
	name := label
	switch cost {
	case "standard":
		sealed, err = encrypted.Encrypt(der, passphrase())
	case "owasp":
		sealed, err = encrypted.EncryptWithCustomKDFParameters(der, passphrase(), encrypted.OWASP)
	case "legacy":
		name = oldLabel
		sealed, err = encrypted.EncryptWithCustomKDFParameters(der, passphrase(), encrypted.Legacy)
	default:
		return fmt.Errorf("unknown cost %q", cost)
	}
	if err != nil {
		return err
	}
	text, err := public(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: name, Bytes: sealed}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(pubFile, text, 0o644)
}

func public(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// open does what cosign's LoadPrivateKey does.
func open(path string) (crypto.Signer, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM", path)
	}
	if block.Type != label && block.Type != oldLabel {
		return nil, fmt.Errorf("%s: unsupported pem type: %s", path, block.Type)
	}
	der, err := encrypted.Decrypt(block.Bytes, passphrase())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: %T does not sign", path, key)
	}
	return signer, nil
}

func sign(keyFile, messageFile, signatureFile string) error {
	key, err := open(keyFile)
	if err != nil {
		return err
	}
	message, err := os.ReadFile(messageFile)
	if err != nil {
		return err
	}
	var signature []byte
	if _, ok := key.(ed25519.PrivateKey); ok {
		signature, err = key.Sign(rand.Reader, message, crypto.Hash(0))
	} else {
		digest := sha256.Sum256(message)
		signature, err = key.Sign(rand.Reader, digest[:], crypto.SHA256)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(signatureFile, signature, 0o644)
}

func verify(pubFile, messageFile, signatureFile string) error {
	text, err := os.ReadFile(pubFile)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("%s: no PEM", pubFile)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	message, err := os.ReadFile(messageFile)
	if err != nil {
		return err
	}
	signature, err := os.ReadFile(signatureFile)
	if err != nil {
		return err
	}
	good := false
	switch key := key.(type) {
	case ed25519.PublicKey:
		good = ed25519.Verify(key, message, signature)
	case *ecdsa.PublicKey:
		digest := sha256.Sum256(message)
		good = ecdsa.VerifyASN1(key, digest[:], signature)
	}
	if !good {
		return fmt.Errorf("the signature is not by this key")
	}
	return nil
}
