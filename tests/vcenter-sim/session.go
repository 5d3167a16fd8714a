package main

import (
	"net/http"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// sessions are ours, before the stock simulator's: they expire, /folder asks for them, PBM takes them from a header.
type sessions struct {
	live map[string]*session
}

type session struct {
	used time.Time
}

// open says whether a cookie value is a live session, and keeps it alive.
func (s *sim) open(cookie string) bool {
	live, ok := s.sessions.live[cookie]
	if !ok {
		return false
	}
	if time.Since(live.used) > s.options.idle {
		delete(s.sessions.live, cookie)
		return false
	}
	live.used = time.Now()
	return true
}

func cookieOf(r *http.Request) string {
	cookie, err := r.Cookie(soap.SessionCookieName)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// authenticate lets a call through, or gives the fault. Without a session only the content and Login are to be had.
//
// PBM wants the session in its SOAP header. A Cookie header there must not carry anything else: clients that send back
// the cookie that /pbm sets lose their session, as on the real one.
func (s *sim) authenticate(c *call, header string) *soap.Fault {
	value := cookieOf(c.request)
	if c.namespace == "pbm" {
		foreign := value != "" && !s.open(value)
		value = strings.Trim(header, `"`)
		if foreign {
			value = ""
		}
	}
	c.request.Header.Del("Cookie")
	if value != "" && s.open(value) {
		c.request.Header.Set("Cookie", soap.SessionCookieName+"="+value)
		return nil
	}
	switch c.name {
	case "RetrieveServiceContent", "PbmRetrieveServiceContent", "Login":
		return nil
	}
	return simulator.Fault("The session is not authenticated.", &types.NotAuthenticated{
		NoPermission: types.NoPermission{Object: c.this, PrivilegeId: "System.View"},
	})
}

func (s *sim) login(c *call) *reply {
	answer := s.passOn(c)
	response := http.Response{Header: answer.header}
	for _, cookie := range response.Cookies() {
		if cookie.Name != soap.SessionCookieName {
			continue
		}
		s.sessions.live[cookie.Value] = &session{used: time.Now()}
		// vCenter writes the value in quotes, and they are part of it on the way back.
		answer.header.Set("Set-Cookie", soap.SessionCookieName+`="`+cookie.Value+`"; Path=/; HttpOnly; Secure; SameSite=None`)
	}
	return answer
}

func (s *sim) logout(c *call) *reply {
	value := cookieOf(c.request)
	answer := s.passOn(c)
	delete(s.sessions.live, value)
	return answer
}
