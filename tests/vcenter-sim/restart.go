package main

import (
	"net"
	"net/http"
	"time"
)

// door is the port with TLS, which can be closed for a while as by a restart of vCenter.
type door struct {
	address string
	open    func(net.Listener) *http.Server
	server  *http.Server
}

// restart ends all sessions and connections and refuses others for a while. The lock of the simulator is held.
func (s *sim) restart(pause time.Duration) {
	s.sessions.live = map[string]*session{}
	_ = s.door.server.Close()
	go func() {
		time.Sleep(pause)
		for {
			listener, err := net.Listen("tcp", s.door.address)
			if err != nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			s.mu.Lock()
			s.door.server = s.door.open(listener)
			s.mu.Unlock()
			return
		}
	}()
}
