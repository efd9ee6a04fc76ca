package server

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/pgtide/pgtide/db"
)

const (
	appVersionHeader = "Tide-App-Version"
	platformHeader   = "Tide-Platform"
	deviceNameHeader = "Tide-Device-Name"

	// aboutBytes of each are kept.
	aboutBytes = 128
	// rememberedClients are not noted again while nothing about them is new.
	rememberedClients = 65536
	// notedAgain is when a client is noted that says nothing new, so that last_seen_at is right to it.
	notedAgain = time.Hour
	// waitingClients is how many are noted together, at most; more of them come again.
	waitingClients = 10000
)

// about is what a device says of itself.
type about struct {
	AppVersion string `json:"app_version"`
	Platform   string `json:"platform"`
	DeviceName string `json:"device_name"`
}

func aboutOf(header http.Header) about {
	return about{printable(header.Get(appVersionHeader)), printable(header.Get(platformHeader)), printable(header.Get(deviceNameHeader))}
}

// orElse has what the device said before of what it does not say now.
func (a about) orElse(before about) about {
	return about{cmp.Or(a.AppVersion, before.AppVersion), cmp.Or(a.Platform, before.Platform), cmp.Or(a.DeviceName, before.DeviceName)}
}

// printable is text that can stand in a table and on a terminal.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.TrimSpace(strings.ToValidUTF8(text, "")))
	if len(text) > aboutBytes {
		end := aboutBytes
		for !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	return text
}

type clientKey struct {
	UserID   string `json:"user_id"`
	SourceID string `json:"source_id"`
}

// clients collects what devices say of themselves: no request writes it, they are noted together.
type clients struct {
	mutex   sync.Mutex
	known   *lru.Cache[clientKey, knownClient]
	waiting map[clientKey]about
}

type knownClient struct {
	about
	at time.Time
}

func newClients() *clients {
	known, err := lru.New[clientKey, knownClient](rememberedClients)
	if err != nil {
		panic(err) // it refuses sizes that are not positive
	}
	return &clients{known: known, waiting: map[clientKey]about{}}
}

// see takes note of a client that has something new to say, or was not heard of for long.
func (k *clients) see(client clientKey, says about) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	last, known := k.known.Get(client)
	says = says.orElse(last.about)
	if known && last.about == says && time.Since(last.at) < notedAgain {
		return
	}
	if len(k.waiting) < waitingClients {
		k.waiting[client] = says
		k.known.Add(client, knownClient{says, time.Now()})
	}
}

// take returns those that wait, as JSON.
func (k *clients) take() (text []byte, taken map[clientKey]about, err error) {
	k.mutex.Lock()
	taken, k.waiting = k.waiting, map[clientKey]about{}
	k.mutex.Unlock()
	if len(taken) == 0 {
		return nil, nil, nil
	}
	rows := make([]struct {
		clientKey
		about
	}, 0, len(taken))
	for client, says := range taken {
		rows = append(rows, struct {
			clientKey
			about
		}{client, says})
	}
	text, err = json.Marshal(rows)
	return text, taken, err
}

// forget lets clients be seen as if for the first time.
func (k *clients) forget(taken map[clientKey]about) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	for client := range taken {
		k.known.Remove(client)
	}
}

// noteClients writes those that wait into tide.client, until ctx ends, and once more then.
func (s *Server) noteClients(ctx context.Context) {
	ticker := time.NewTicker(s.config.NoteClientsEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.noteWaitingClients(ctx)
		case <-ctx.Done():
			s.noteWaitingClients(ctx)
			return
		}
	}
}

func (s *Server) noteWaitingClients(ctx context.Context) {
	text, taken, err := s.clients.take()
	if err == nil && taken == nil {
		return
	}
	// The last time comes when ctx has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.RequestTimeout)
	defer cancel()
	if err == nil {
		err = db.New(s.writing()).NoteClients(ctx, string(text))
	}
	if err != nil {
		s.clients.forget(taken)
		s.config.Logger.WarnContext(ctx, "what clients say of themselves was not noted", slog.Any("error", err))
	}
}
