package auth

import (
	"log/slog"
	"net"
	"net/http"
	"strings"
)

// TrustHeader is for development: whoever names a user in this header is him. It believes requests
// of this machine alone, none that came through a proxy, and none that a web page of another host
// can make; every one it believes is in the log, as a warning.
func TrustHeader(name string, logger *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, ctx := r.Header.Values(name), r.Context()
			switch {
			case !direct(r):
				ctx = WithRefusal(ctx, Refused{Reason: "this server is in development mode, and believes nobody but this machine itself. Give it keys of tokens."})
			case len(user) != 1 || user[0] == "" || len(user[0]) > maxUserBytes:
				ctx = WithRefusal(ctx, Refused{Reason: "the request names no user. Send the header " + name + ", once: this server is in development mode."})
			default:
				logger.WarnContext(ctx, "development mode: believed without a token", slog.String("user_id", user[0]))
				ctx = WithIdentity(ctx, Identity{UserID: user[0]})
			}
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}
}

// direct says that a request was made on this machine, and not by a page whose host name was made to
// point here: such a name would be in Host.
func direct(r *http.Request) bool {
	for _, proxied := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(proxied) != "" {
			return false
		}
	}
	remote, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !net.ParseIP(remote).IsLoopback() {
		return false
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.EqualFold(host, "localhost") || net.ParseIP(strings.Trim(host, "[]")) != nil
}
