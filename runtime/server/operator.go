package server

import "net/http"

// Operator returns a handler of the routes that are for operators and for everybody, for an address
// of its own: whoever reaches it needs no token.
func (s *Server) Operator() http.Handler { return s.handled(true) }

func (s *Server) handled(operator bool) http.Handler {
	return compressing(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, operator) }))
}
