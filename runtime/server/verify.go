package server

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pgtide/pgtide/db"
	"github.com/pgtide/pgtide/runtime/wire"
)

// verifyRequest asks for the checksums of buckets, or, with a table, for what is in ranges of its keys.
type verifyRequest struct {
	Buckets  []string `json:"buckets"` // of a cursor client; without them the home bucket is meant
	Bucket   *string  `json:"bucket"`
	Schema   string   `json:"schema"`
	Table    string   `json:"table"`
	Prefixes []string `json:"prefixes"`
	Payload  bool     `json:"payload"`
}

// verify tells what a device should hold, exactly at the position of the answer: it is sealed for it, as
// for a snapshot.
func (c *call) verify() error {
	var asked verifyRequest
	if err := c.decode(&asked, wire.VerifyInvalid, false); err != nil {
		return err
	}
	if err := db.New(c.reading()).AssertScope(c.r.Context(), c.user.UserID); err != nil {
		return err
	}
	return c.atPosition(func(ctx context.Context, tx *pgx.Conn, at position) error {
		defer c.enterStage(readStage)()
		answer := c.body(typeJSON)
		defer answer.close()
		if asked.Buckets != nil || asked.Bucket != nil {
			answer.raw(`{"snapshot_bundle_id":`)
			answer.int(at.BundleID)
			answer.string(`,"seal":`, at.seal())
		} else {
			answer.raw(`{"snapshot_bundle_seq":`)
			answer.int(at.homeSeq)
		}
		var err error
		if asked.Table == "" {
			err = answer.checksums(ctx, tx, asked.Buckets)
		} else {
			err = answer.ranges(ctx, tx, asked)
		}
		if err != nil {
			return err
		}
		answer.raw(`}`)
		return answer.finish()
	})
}

func (s *body) checksums(ctx context.Context, tx *pgx.Conn, buckets []string) error {
	rows, err := tx.Query(ctx, db.VerifyBuckets, s.c.user.UserID, s.c.source, buckets)
	if err != nil {
		return err
	}
	defer rows.Close()
	s.raw(`,"checksums":[`)
	for n := 0; rows.Next(); n++ {
		v := rows.RawValues()
		if n > 0 {
			s.raw(",")
		}
		s.string(`{"bucket":`, string(v[0]))
		s.string(`,"schema":`, string(v[1]))
		s.string(`,"table":`, string(v[2]))
		s.raw(`,"row_count":` + string(v[3]))
		s.string(`,"checksum":`, string(v[4]))
		s.raw("}")
		if err := s.check(); err != nil {
			return err
		}
	}
	s.raw("]")
	return rows.Err()
}

// ranges writes rows, or where there are too many of them the ranges within the first prefix; left are the
// prefixes to be asked for again.
func (s *body) ranges(ctx context.Context, tx *pgx.Conn, asked verifyRequest) error {
	bucket := pgtype.Text{Valid: asked.Bucket != nil}
	if bucket.Valid {
		bucket.String = *asked.Bucket
	}
	if asked.Prefixes == nil {
		asked.Prefixes = []string{""}
	}
	rows, err := tx.Query(ctx, db.VerifyRange, s.c.user.UserID, s.c.source, bucket, asked.Schema, asked.Table, asked.Prefixes, asked.Payload)
	if err != nil {
		return err
	}
	defer rows.Close()
	var left []string
	next := `,"rows":[`
	for rows.Next() {
		v := rows.RawValues()
		switch string(v[0]) {
		case "left":
			left = append(left, string(v[1]))
			continue
		case "range":
			if next != "," {
				next = `,"ranges":[`
			}
			s.string(next+`{"prefix":`, string(v[1]))
			s.raw(`,"row_count":` + string(v[2]))
		default:
			s.c.rowsSent++
			s.raw(next + `{"key":`)
			s.b = append(s.b, v[4]...)
		}
		next = ","
		s.string(`,"checksum":`, string(v[3]))
		if v[5] != nil {
			s.raw(`,"payload":`)
			s.b = append(s.b, v[5]...)
		}
		s.raw("}")
		if err := s.check(); err != nil {
			return err
		}
	}
	if next != "," {
		s.raw(next) // there is none
	}
	s.raw("]")
	if left != nil {
		s.raw(`,"left":`)
		s.strings(left)
	}
	return rows.Err()
}
