package main

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"crypto/tls"

	"github.com/vmware/govmomi/vim25/types"
)

// faults is what is to go wrong, each a number of times.
type faults struct {
	mu   sync.Mutex
	list []*ordered
	http []*orderedHTTP
	slow []*slowTask
}

// slowTask makes tasks of a method take their time: their state is queued until then.
type slowTask struct {
	method string
	left   int
	wait   time.Duration
}

// slowness takes the next one of a method. The lock of the simulator is held.
func (f *faults) slowness(method string) time.Duration {
	for _, one := range f.slow {
		if one.left > 0 && one.method == method {
			one.left--
			return one.wait
		}
	}
	return 0
}

// ordered is a fault of a SOAP method.
type ordered struct {
	method string
	left   int
	// Whether the call itself fails. A *_Task else returns a task that ends in the fault, as most faults are met.
	atCall bool
	// Whether the work is done all the same.
	after bool
	skip  int
	build func() types.BaseMethodFault
}

// orderedHTTP is trouble below SOAP.
type orderedHTTP struct {
	path   string
	method string
	left   int
	skip   int
	status int
	kind   string
	delay  time.Duration
}

type faultOutcome int

const (
	faultNone faultOutcome = iota
	// The request was answered, or the connection is gone: nothing else is to be done.
	faultTaken
	// The request is carried out and its answer lost.
	faultLoses
)

// next takes the next HTTP trouble for a request. method is a SOAP method, or a verb like GET for /folder.
func (f *faults) next(s *sim, w http.ResponseWriter, r *http.Request, method string) faultOutcome {
	f.mu.Lock()
	var taken *orderedHTTP
	for _, one := range f.http {
		if one.left == 0 || !strings.HasPrefix(r.URL.Path, one.path) || (one.method != "" && one.method != method) {
			continue
		}
		if one.skip > 0 {
			one.skip--
			continue
		}
		one.left--
		taken = one
		break
	}
	f.mu.Unlock()
	if taken == nil {
		return faultNone
	}
	time.Sleep(taken.delay)
	switch taken.kind {
	case "reset":
		reset(w)
		return faultTaken
	case "lost":
		return faultLoses
	case "delay":
		return faultNone
	}
	http.Error(w, http.StatusText(taken.status), taken.status)
	return faultTaken
}

// reset cuts the connection so that the client sees a reset, not an end.
func reset(w http.ResponseWriter) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		return
	}
	connection, _, err := hijacker.Hijack()
	if err != nil {
		return
	}
	raw := connection
	if secure, ok := connection.(*tls.Conn); ok {
		raw = secure.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = raw.Close()
}

// soap takes the next fault of a method. The lock of the simulator is held.
func (f *faults) soap(s *sim, c *call) *reply {
	for _, one := range f.list {
		if one.left == 0 || one.method != c.name {
			continue
		}
		if one.skip > 0 {
			one.skip--
			continue
		}
		one.left--
		if one.after {
			if own, ok := s.methods[c.name]; ok {
				own(c)
			} else {
				s.passOn(c)
			}
		}
		built := one.build()
		if one.atCall || !strings.HasSuffix(c.name, "_Task") {
			return fault(built)
		}
		return s.task(c, func() (types.AnyType, types.BaseMethodFault) { return nil, built })
	}
	return nil
}

// addFault reads a fault from a control call.
func (s *sim) addFault(q url.Values) error {
	kind, ok := types.TypeFunc()(q.Get("fault"))
	if !ok {
		return fmt.Errorf("fault %q is not known", q.Get("fault"))
	}
	if _, ok := reflect.New(kind).Interface().(types.BaseMethodFault); !ok {
		return fmt.Errorf("%q is not a fault", q.Get("fault"))
	}
	if q.Get("method") == "" {
		return fmt.Errorf("method is missing")
	}
	s.faults.list = append(s.faults.list, &ordered{
		method: q.Get("method"), left: count(q), skip: int(number(q.Get("skip"))),
		atCall: q.Get("where") == "call", after: q.Get("after") == "true",
		build: func() types.BaseMethodFault {
			value := reflect.New(kind)
			set := func(field string, content interface{}) {
				if f := value.Elem().FieldByName(field); f.IsValid() && reflect.TypeOf(content).AssignableTo(f.Type()) {
					f.Set(reflect.ValueOf(content))
				}
			}
			set("Reason", q.Get("reason"))
			set("InvalidProperty", q.Get("property"))
			set("Property", q.Get("property"))
			set("PrivilegeId", q.Get("privilege"))
			set("Name", q.Get("name"))
			set("File", q.Get("file"))
			if id := q.Get("required"); id != "" {
				set("RequiredKey", []types.CryptoKeyId{*parseKey(id)})
			}
			made := value.Interface().(types.BaseMethodFault)
			if q.Get("key") == "" && q.Get("text") == "" {
				return made
			}
			return said(made, q.Get("key"), q.Get("text"))
		},
	})
	return nil
}

// addHTTP reads HTTP trouble from a control call.
func (s *sim) addHTTP(q url.Values) error {
	one := &orderedHTTP{
		path: q.Get("path"), method: q.Get("method"), left: count(q), skip: int(number(q.Get("skip"))),
		delay: time.Duration(number(q.Get("ms"))) * time.Millisecond,
	}
	switch status := q.Get("status"); status {
	case "reset", "lost", "delay":
		one.kind = status
	default:
		code, err := strconv.Atoi(status)
		if err != nil || code < 100 {
			return fmt.Errorf("status is a number, reset, lost or delay, not %q", status)
		}
		one.status = code
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.http = append(s.faults.http, one)
	return nil
}

func count(q url.Values) int {
	if q.Get("n") == "" {
		return 1
	}
	return int(number(q.Get("n")))
}

func number(text string) int32 {
	n, _ := strconv.ParseInt(text, 10, 32)
	return int32(n)
}
