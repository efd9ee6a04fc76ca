// Package auth says who asks. An identity lies in the context of a request; [Tokens] puts it there
// from a signed token, and any other middleware may do the same with [WithIdentity].
package auth

import (
	"context"
	"encoding/json"
	"time"
)

// Identity is the user on whose behalf a request is made.
type Identity struct {
	// UserID names the user, and with it the home bucket user:<id>.
	UserID string
	// Claims is a JSON object that row-level security policies read as request.jwt.claims. When
	// empty they see the user alone, as sub.
	Claims json.RawMessage
	// ExpiresAt is when whoever asks must show anew who he is; an answer that goes on ends then.
	// Zero is never.
	ExpiresAt time.Time
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

// Refused says why a request has no identity, to whoever made it.
type Refused struct {
	Reason string
	// Passing means that the request is not to blame: the keys could not be fetched, say. It is
	// answered with 503, because a client that is told 401 forgets its user.
	Passing bool
}

func (r Refused) Error() string { return r.Reason }

// WithRefusal notes why a request has no identity, for whoever has to refuse it.
func WithRefusal(ctx context.Context, refused Refused) context.Context {
	return context.WithValue(ctx, refusalKey{}, refused)
}

// Refusal is why a request has no identity.
func Refusal(ctx context.Context) Refused {
	if refused, ok := ctx.Value(refusalKey{}).(Refused); ok {
		return refused
	}
	return Refused{Reason: "nobody has said who asks. Send Authorization: Bearer with a token of your user."}
}
