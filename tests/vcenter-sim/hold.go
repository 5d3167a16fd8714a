package main

import (
	"fmt"
	"net/http"
	"net/url"
	"sync"
)

// holds keeps calls waiting at a point of their way, so that a test can do something exactly there.
type holds struct {
	mu      sync.Mutex
	planned []*plannedHold
	waiting []*waitingCall
}

// plannedHold is for the left-th next call of a method, or of any.
type plannedHold struct {
	method string
	at     string
	left   int
}

// waitingCall goes on when told, and is lost when told so or when its client has gone.
type waitingCall struct {
	name string
	at   string
	told chan bool
}

// holds a call where that was planned; false: it is lost, and what was not done is not done any more.
func (h *holds) pass(r *http.Request, name, at string) bool {
	h.mu.Lock()
	var due bool
	var kept []*plannedHold
	for _, one := range h.planned {
		if one.at == at && (one.method == "" || one.method == name) {
			one.left--
			if one.left <= 0 {
				due = true
				continue
			}
		}
		kept = append(kept, one)
	}
	h.planned = kept
	if !due {
		h.mu.Unlock()
		return true
	}
	waiting := &waitingCall{name: name, at: at, told: make(chan bool, 1)}
	h.waiting = append(h.waiting, waiting)
	h.mu.Unlock()
	goesOn := false
	select {
	case goesOn = <-waiting.told:
	case <-r.Context().Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, one := range h.waiting {
		if one == waiting {
			h.waiting = append(h.waiting[:i], h.waiting[i+1:]...)
			break
		}
	}
	return goesOn
}

// command answers hold, held and release.
func (h *holds) command(name string, q url.Values) (interface{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch name {
	case "hold":
		at := q.Get("at")
		if at == "" {
			at = "before"
		}
		if at != "before" && at != "after" {
			return nil, fmt.Errorf("at is before or after, not %q", at)
		}
		h.planned = append(h.planned, &plannedHold{method: q.Get("method"), at: at, left: count(q)})
	case "held":
		names := []string{}
		for _, one := range h.waiting {
			names = append(names, one.at+" "+one.name)
		}
		return names, nil
	case "release":
		h.planned = nil
		for _, one := range h.waiting {
			select {
			case one.told <- q.Get("lost") != "true":
			default:
			}
		}
	}
	return nil, nil
}
