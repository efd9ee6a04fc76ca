// Package auth says who asks. An identity lies in the context of a request; [Bearer] puts it there
// from a signed token, and any other middleware may do the same with [WithIdentity].
package auth

import (
	"context"
	"encoding/json"
)

// Identity is the user on whose behalf a request is made.
type Identity struct {
	// UserID names the user, and with it the home bucket user:<id>.
	UserID string
	// Claims is a JSON object that row-level security policies read as request.jwt.claims. When
	// empty they see the user alone, as sub.
	Claims json.RawMessage
}

type (
	identityKey struct{}
	refusalKey  struct{}
)

// WithIdentity returns a context of requests made by this user.
func WithIdentity(ctx context.Context, identity Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, identity)
}

// FromContext returns who asks, and false when nobody has said so.
func FromContext(ctx context.Context) (Identity, bool) {
	identity, ok := ctx.Value(identityKey{}).(Identity)
	return identity, ok && identity.UserID != ""
}

// WithRefusal notes why a request has no identity, for whoever has to refuse it.
func WithRefusal(ctx context.Context, reason string) context.Context {
	return context.WithValue(ctx, refusalKey{}, reason)
}

// Refusal is why a request has no identity.
func Refusal(ctx context.Context) string {
	if reason, ok := ctx.Value(refusalKey{}).(string); ok {
		return reason
	}
	return "nobody has said who asks. Send Authorization: Bearer with a token of your user."
}
