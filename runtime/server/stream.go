package server

import (
	"strconv"
	"sync"
	"time"

	"github.com/pgtide/pgtide/runtime/wire"
)

// body is an answer that is written while it is read from the database. Up to BufferBytes it stays in
// memory: then an error is still an answer of its own, and the connection is given back before the
// client has read anything. Beyond that it is streamed, and counts among the streams. What the client asked
// for as a stream begins as soon as there is something to send, if a place among the streams is free.
type body struct {
	c           *call
	contentType string
	b           []byte
	kept        *[]byte
	streaming   bool
	early       bool         // asked for as a stream
	mayRead     func() error // what was read may have been taken from the user since; nil asks nobody
	lastSchema  []byte       // names of the row before, and what they became
	lastTable   []byte
	names       []byte
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// keptBuffer is the largest buffer that is kept for the next answer: that of a full page, grown by doubling.
const keptBuffer = 8 << 20

func (c *call) body(contentType string) *body {
	kept := buffers.Get().(*[]byte)
	return &body{c: c, contentType: contentType, b: (*kept)[:0], kept: kept}
}

// close gives back what the answer held. It is called in any case.
func (s *body) close() {
	if s.streaming {
		<-s.c.streams
		<-s.c.share.streams
	}
	if cap(s.b) <= keptBuffer {
		*s.kept = s.b
		buffers.Put(s.kept)
	}
}

// check is called between rows.
func (s *body) check() error {
	if len(s.b) < s.c.config.BufferBytes {
		if len(s.b) < streamPiece || !s.streaming && !s.early {
			return nil
		}
		// No place is free: it may well fit into memory, and is only refused where it does not.
		if err := s.stream(); err != nil {
			s.early = false
			return nil
		}
	}
	return s.flush()
}

// streamPiece is how much of a stream is sent at a time.
const streamPiece = 64 << 10

func (s *body) flush() error {
	if err := s.stream(); err != nil {
		return err
	}
	if err := s.stillMayRead(); err != nil {
		return err
	}
	err := s.c.send(s.b)
	s.b = s.b[:0]
	if err == nil {
		err = s.c.flush()
	}
	return err
}

// stillMayRead is asked before each piece of a stream: others come from memory, at once.
func (s *body) stillMayRead() error {
	if end := s.c.user.ExpiresAt; !end.IsZero() && time.Now().After(end) {
		return wire.Refuse(wire.AuthenticationFailed, "the token expired while the answer was sent. Get a new one, and ask again.")
	}
	if s.mayRead == nil {
		return nil
	}
	return s.mayRead()
}

// stream makes the answer a stream, if it may be one now.
func (s *body) stream() error {
	if s.streaming {
		return nil
	}
	select {
	case s.c.share.streams <- struct{}{}:
	default:
		return &wire.Error{Code: wire.TooManyStreams, Message: "too many large answers are being sent to this user. Read them, and try again.", Retryable: true, RetryAfter: time.Second}
	}
	select {
	case s.c.streams <- struct{}{}:
		s.streaming = true
		s.c.header(s.contentType, -1)
		return nil
	default:
		<-s.c.share.streams
		return wire.Unavailable("too many large answers are being sent. Try again.", nil)
	}
}

// finish sends the rest.
func (s *body) finish() error {
	s.b = append(s.b, '\n')
	if !s.streaming {
		s.c.header(s.contentType, len(s.b))
	} else if err := s.stillMayRead(); err != nil {
		return err
	}
	return s.c.send(s.b)
}

// raw appends text of the server's own.
func (s *body) raw(text string) { s.b = append(s.b, text...) }

func (s *body) int(n int64) { s.b = strconv.AppendInt(s.b, n, 10) }

// string appends a name, given with its punctuation, and a string.
func (s *body) string(name, value string) {
	s.raw(name)
	s.b = wire.AppendString(s.b, value)
}

func (s *body) strings(list []string) {
	s.raw("[")
	for i, item := range list {
		if i > 0 {
			s.raw(",")
		}
		s.b = wire.AppendString(s.b, item)
	}
	s.raw("]")
}

// row appends a row: key and payload are the bytes of the database.
func (s *body) row(row wire.Row, version []byte) {
	if s.names == nil || string(s.lastSchema) != string(row.Schema) || string(s.lastTable) != string(row.Table) {
		s.lastSchema = append(s.lastSchema[:0], row.Schema...)
		s.lastTable = append(s.lastTable[:0], row.Table...)
		s.names = wire.AppendString(append(s.names[:0], `{"schema":`...), row.Schema)
		s.names = wire.AppendString(append(s.names, `,"table":`...), row.Table)
		s.names = append(s.names, `,"key":`...)
	}
	s.c.rowsSent++
	s.b = append(s.b, s.names...)
	s.b = append(s.b, row.Key...)
	if row.Op != nil {
		s.b = append(s.b, `,"op":"`...)
		s.b = append(s.b, row.Op...)
		s.b = append(s.b, '"')
	}
	s.b = append(s.b, `,"row_version":`...)
	s.b = append(s.b, version...)
	if row.Payload != nil {
		s.b = append(s.b, `,"payload":`...)
		s.b = append(s.b, row.Payload...)
	}
	if row.Buckets != nil {
		s.b = append(s.b, `,"buckets":`...)
		s.b = append(s.b, row.Buckets...)
	}
	s.b = append(s.b, '}')
}

// rows appends rows that the database wrote as they are sent.
func (s *body) rows(n int64, rows []byte) {
	s.c.rowsSent += n
	s.b = append(s.b, rows...)
}
