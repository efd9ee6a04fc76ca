package server

import (
	"net/http"
	"strings"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

// schema is what a device makes its tables from. Its version is the ETag: a device that has it asks
// again at little cost.
func (c *call) schema() error {
	told, err := db.New(c.reading()).ClientSchema(c.r.Context(), db.ClientSchemaParams{UserID: c.user.UserID, SourceID: c.source})
	if err != nil {
		return err
	}
	// Weak, because the bytes may be compressed; of both versions, because the body has both.
	tag := `W/"` + told.Version + told.NewestVersion + `"`
	c.w.Header().Set("ETag", tag)
	if matches(c.r.Header.Values("If-None-Match"), tag) {
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return c.json(func(b []byte) []byte {
		b = wire.AppendString(append(b, `{"version":`...), told.Version)
		b = wire.AppendString(append(b, `,"newest_version":`...), told.NewestVersion)
		return append(append(append(b, `,"tables":`...), told.Tables...), '}')
	})
}

// matches compares weakly, as RFC 9110 wants it of If-None-Match.
func matches(given []string, tag string) bool {
	for candidate := range strings.SplitSeq(strings.Join(given, ","), ",") {
		candidate = strings.TrimSpace(candidate)
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}
