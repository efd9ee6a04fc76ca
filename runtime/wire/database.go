package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
)

// tooManySessionsWait is about what a device needs to finish a session.
const tooManySessionsWait = 10 * time.Second

// FromError turns what went wrong into an answer; failed is what the route says when neither the
// request nor a passing trouble is to blame. It is the only place that reads an SQLSTATE.
func FromError(err error, failed Code) *Error {
	var answer *Error
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &answer):
		return answer
	case errors.As(err, &refused):
		return fromDatabase(refused, err, failed)
	case passes(err):
		return Unavailable("the database cannot be reached now. Try again.", err)
	}
	return failure(err, failed)
}

func failure(err error, failed Code) *Error {
	return &Error{Code: failed, Message: "the server failed to answer, and the reason is in its log under this request_id.", Cause: err}
}

func fromDatabase(refused *pgconn.PgError, err error, failed Code) *Error {
	if known, ok := raised[refused.Code]; ok {
		answer := &Error{Code: known.code, Message: messageOf(refused), Cause: err}
		switch refused.Code {
		case "TD125":
			answer.Retryable, answer.RetryAfter = true, tooManySessionsWait
		case "TD126", "TD129": // how long a maintenance takes is what the runtime knows a second later
			answer.Retryable, answer.RetryAfter = true, time.Second
		case "TD102": // the rows that cannot be read, where it is rows
			if refused.DataTypeName != "" {
				answer.Extra = append(answer.Extra, Field{"rejected", []byte(refused.DataTypeName)})
			}
		case "TD136": // the SQLSTATE that the hook raised
			answer.Add("sqlstate", refused.DataTypeName)
		}
		return answer
	}
	switch {
	case unprepared(refused.Code):
		return Unavailable("the database is behind a pooler that this server is not set up for. Try again later.",
			fmt.Errorf("%w: a pooler in transaction mode needs pgtide serve --prepared-statements=false, or default_query_exec_mode=exec in the URL of the pool", err))
	case passing(refused.Code):
		return Unavailable("the database is busy, or starting, or stopping. Try again.", err)
	case unreadable(refused.Code):
		return &Error{Code: InvalidRequest, Message: "the request has text that PostgreSQL cannot store: a zero character, half of a surrogate pair, invalid UTF-8, or JSON nested too deeply.", Cause: err}
	}
	return failure(err, failed)
}

// unprepared are SQLSTATEs of a session that lacks a statement prepared in another, or has one already: a
// pooler gave the connection another session.
func unprepared(state string) bool { return state == "26000" || state == "42P05" }

// passing are SQLSTATEs that say something about the server and this moment.
func passing(state string) bool {
	switch state {
	case "25006", // read only: a standby, or a primary that is being replaced
		"55P03", // a lock was not to be had
		"25P03", // a transaction was ended because it idled
		"25P04": // or took too long
		return true
	case "54001":
		return false
	}
	switch state[:min(2, len(state))] {
	case "08", "40", "53", "57", "58":
		return true
	}
	return false
}

// ReadOnly tells that a server takes no writes, or a session: those of a pool stay so after a primary
// was replaced, or read-only was the default for a while. Other sessions may be better.
func ReadOnly(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "25006"
}

// unreadable are SQLSTATEs that only the text of a request can cause: what the runtime sends itself
// is numbers and names of functions.
func unreadable(state string) bool {
	switch state {
	case "22P02", "22021", "22P05", "54001":
		return true
	}
	return false
}

// passes tells trouble with the connection from mistakes of the program.
func passes(err error) bool {
	var connecting *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connecting) || errors.As(err, &network) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, puddle.ErrClosedPool) || errors.Is(err, puddle.ErrNotAvailable) || pgconn.SafeToRetry(err)
}

// messageOf joins what an error of pgtide says: what was refused, why, what to do. None of it comes
// from a table that the caller may not see.
func messageOf(refused *pgconn.PgError) string {
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(refused.Message, "."))
	if refused.Detail != "" {
		b.WriteString(": ")
		b.WriteString(strings.TrimSuffix(refused.Detail, "."))
	}
	b.WriteByte('.')
	if refused.Hint != "" {
		b.WriteByte(' ')
		b.WriteString(refused.Hint)
	}
	return b.String()
}
