package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

const (
	// MinSecretBytes is the shortest secret worth the name: HS256 is no stronger than its key (RFC 7518).
	MinSecretBytes = 32
	// minRSABits is what RFC 7518 asks of RSA keys.
	minRSABits = 2048
)

// publicAlgorithms are those whose keys may be published: a secret among the keys of a URL is none.
var publicAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// algorithms are those that a key of this kind signs with. Everything else a token may claim to be
// signed with is refused before the key is looked at, none of all first.
func algorithms(key any) []string {
	switch k := key.(type) {
	case []byte:
		switch {
		case len(k) >= 64:
			return []string{"HS256", "HS384", "HS512"}
		case len(k) >= 48:
			return []string{"HS256", "HS384"}
		}
		return []string{"HS256"}
	case *rsa.PublicKey:
		return publicAlgorithms[:6]
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return []string{"ES256"}
		case 384:
			return []string{"ES384"}
		case 521:
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	// No algorithm at all would stand for every one.
	return []string{"no algorithm"}
}

func assertStrong(key any) error {
	switch k := key.(type) {
	case []byte:
		if len(k) < MinSecretBytes {
			return fmt.Errorf("the secret has %d bytes, and HS256 is no stronger than its secret: it needs at least %d", len(k), MinSecretBytes)
		}
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSABits {
			return fmt.Errorf("the RSA key has %d bits: it needs at least %d", k.N.BitLen(), minRSABits)
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return fmt.Errorf("a key of type %T verifies no token: it must be an RSA, ECDSA or Ed25519 public key", key)
	}
	return nil
}

// ParseKey reads a public key, or a certificate with one, in PEM.
func ParseKey(text []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the key is not in PEM: it begins with -----BEGIN PUBLIC KEY-----")
	}
	var key crypto.PublicKey
	var err error
	switch {
	case strings.Contains(block.Type, "PRIVATE KEY"):
		return nil, errors.New("this is a private key, which only the issuer of tokens needs: give the public one")
	case block.Type == "CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = certificate.PublicKey
		}
	case block.Type == "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("read the public key: %w", err)
	}
	return key, assertStrong(key)
}
