package main

import (
	"net"
	"sync"
)

// sockets is the least that many can be told with: each has a goroutine, which writes a line when
// something is said.
type sockets struct {
	net.Listener
	mutex        sync.Mutex
	said, hungUp chan struct{}
}

func listenSockets() (*sockets, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sockets{Listener: listener, said: make(chan struct{}), hungUp: make(chan struct{})}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // it is closed
			}
			go s.serve(conn)
		}
	}()
	return s, nil
}

func (s *sockets) port() int64 { return int64(s.Addr().(*net.TCPAddr).Port) }

// serve says at once that it is there. It does not read, so it does not see when its client has gone.
func (s *sockets) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }() // the client did
	for {
		s.mutex.Lock()
		said, hungUp := s.said, s.hungUp
		s.mutex.Unlock()
		if _, err := conn.Write([]byte("said\n")); err != nil {
			return
		}
		select {
		case <-said:
		case <-hungUp:
			return
		}
	}
}

func (s *sockets) say() { s.tell(&s.said) }

func (s *sockets) hangUp() { s.tell(&s.hungUp) }

func (s *sockets) tell(all *chan struct{}) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	close(*all)
	*all = make(chan struct{})
}
