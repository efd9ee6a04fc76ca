package server

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pgtide/pgtide/internal/pgtest"
	"github.com/pgtide/pgtide/runtime/auth"
)

// Whoever cannot be known now is told to try again; whoever is not known is told so.
func TestRefusedIdentities(t *testing.T) {
	t.Parallel()
	s := New(pgtest.New(t).Pool, Config{})
	for _, test := range []struct {
		refused auth.Refused
		want    int
	}{{auth.Refused{Reason: "no"}, http.StatusUnauthorized}, {auth.Refused{Reason: "not now", Passing: true}, http.StatusServiceUnavailable}} {
		request := httptest.NewRequest(http.MethodGet, "/sync/pull", http.NoBody)
		recorder := httptest.NewRecorder()
		s.ServeHTTP(recorder, request.WithContext(auth.WithRefusal(request.Context(), test.refused)))
		if recorder.Code != test.want || (recorder.Header().Get("Retry-After") != "") != test.refused.Passing {
			t.Errorf("%+v: %d %s", test.refused, recorder.Code, recorder.Body)
		}
	}
}
