package server

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/pgtide/pgtide/runtime/wire"
)

const (
	typeJSON  = "application/json"
	typeLines = "application/x-ndjson"
)

// encodings are the codings of a body that are understood, in the words of Accept-Encoding.
const encodings = "zstd, gzip"

// largestWindow is how far back a zstd frame may refer, which is memory: RFC 9659 has 8 MiB for HTTP.
const largestWindow = 8 << 20

// compressing sends longer answers in the best coding that the client takes. Events of a watch are
// left alone: each must leave at once, and is small.
func compressing(next http.Handler) http.Handler {
	wrap, err := gzhttp.NewWrapper(gzhttp.ContentTypes([]string{typeJSON, typeLines}), gzhttp.CompressionLevel(gzip.BestSpeed))
	if err != nil {
		panic(err) // it refuses options that contradict each other, and these do not
	}
	compressed := wrap(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == pathWatch {
			next.ServeHTTP(w, r) // what the library keeps for it would be a fifth of a watch
			return
		}
		compressed.ServeHTTP(flusher{w}, r)
	})
}

// flusher is for the library, which flushes nothing when the writer of a host's middleware has Unwrap
// alone: events would never leave.
type flusher struct{ http.ResponseWriter }

// Flush implements http.Flusher. What cannot be flushed leaves with what follows.
func (w flusher) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (w flusher) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// decoded reads the body of the request as it was before it was compressed, and never more of it than
// MaxBodyBytes.
func (c *call) decoded() (io.ReadCloser, error) {
	switch coding := strings.ToLower(strings.TrimSpace(strings.Join(c.r.Header.Values("Content-Encoding"), ","))); coding {
	case "", "identity":
		return io.NopCloser(c.r.Body), nil
	case "gzip", "x-gzip":
		unpacked, err := gzip.NewReader(c.r.Body)
		if err != nil {
			return nil, err
		}
		return c.capped(unpacked), nil
	case "zstd":
		unpacked, err := zstd.NewReader(c.r.Body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(largestWindow))
		if err != nil {
			return nil, err
		}
		return c.capped(unpacked.IOReadCloser()), nil
	default:
		c.w.Header().Set("Accept-Encoding", encodings)
		return nil, wire.Refuse(wire.UnsupportedEncoding, "the body is encoded in a way that this server does not read. Send it as it is, or with one Content-Encoding of "+encodings+".")
	}
}

func (c *call) capped(unpacked io.ReadCloser) io.ReadCloser {
	return http.MaxBytesReader(nil, unpacked, c.config.MaxBodyBytes)
}

// received counts what was sent, and remembers what went wrong on the way here, which is not the fault
// of how a body is encoded.
type received struct {
	io.ReadCloser
	n   int64
	err error
}

// Read implements io.Reader.
func (r *received) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	r.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// text reads the body of the request.
func (c *call) text() ([]byte, error) {
	defer c.enterStage(receiveStage)()
	c.w.mayRead(c.config.RequestTimeout)
	defer c.w.mayRead(0)
	sent := &received{ReadCloser: c.r.Body}
	c.r.Body = sent
	text, err := c.read()
	c.received = sent.n
	var long *http.MaxBytesError
	var refused *wire.Error
	switch {
	case err == nil, errors.As(err, &refused):
		return text, err
	case errors.As(errors.Join(err, sent.err), &long):
		return nil, wire.Refuse(wire.RequestTooLarge, fmt.Sprintf("the body is longer than %d bytes. Push in chunks, or in several bundles.", long.Limit))
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, wire.Refuse(wire.RequestTooLarge, fmt.Sprintf("the body needs a window of more than %d bytes to be decompressed. Compress it with a smaller one.", largestWindow))
	case sent.err != nil:
		return nil, &wire.Error{Code: wire.InvalidRequest, Message: "the body did not arrive whole. Send the request again.", Retryable: true, Cause: err}
	}
	return nil, &wire.Error{Code: wire.InvalidRequest, Message: "the body cannot be decompressed. Send it as Content-Encoding says.", Cause: err}
}

func (c *call) read() ([]byte, error) {
	body, err := c.decoded()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(body)
	return text, errors.Join(err, body.Close())
}

// wantsLines tells whether the client would rather have NDJSON than JSON. Only who names it gets it.
func (c *call) wantsLines() bool {
	c.w.Header().Add("Vary", "Accept")
	quality := map[string]float64{typeJSON: -1, typeLines: -1}
	for part := range strings.SplitSeq(strings.Join(c.r.Header.Values("Accept"), ","), ",") {
		name, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue // as if it were not there
		}
		q, err := strconv.ParseFloat(parameters["q"], 64)
		if err != nil {
			q = 1
		}
		quality[name] = q
	}
	return quality[typeLines] > 0 && quality[typeLines] >= quality[typeJSON]
}
