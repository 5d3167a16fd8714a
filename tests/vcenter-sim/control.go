package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// front stands before everything. /ctl/ is to be had on the plain port only.
func (s *sim) front(control bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/ctl/") && control:
			s.control(w, r)
		case strings.HasPrefix(r.URL.Path, "/folder/"):
			s.folder(w, r)
		case (r.URL.Path == "/sdk" || r.URL.Path == "/pbm") && r.Method == http.MethodPost:
			s.soap(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

// control answers POST /ctl/NAME?ARGUMENTS with JSON; an argument that is wrong is 400 and says so.
func (s *sim) control(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/ctl/")
	var result interface{}
	var err error
	switch name {
	case "hold", "held", "release":
		result, err = s.holds.command(name, r.URL.Query())
	default:
		s.mu.Lock()
		result, err = s.command(name, r.URL.Query())
		s.mu.Unlock()
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		result = map[string]string{"error": err.Error()}
	}
	if result == nil {
		result = map[string]bool{"ok": true}
	}
	_ = json.NewEncoder(w).Encode(result)
}

// scheduled is a control call that runs just before a later call of a client.
type scheduled struct {
	method string
	left   int
	then   string
}

// runScheduled runs what was planned for this call. method is a SOAP method or a verb of /folder.
func (s *sim) runScheduled(method string) {
	var kept []*scheduled
	var due []string
	for _, one := range s.plans {
		if one.method != "" && one.method != method {
			kept = append(kept, one)
			continue
		}
		one.left--
		if one.left > 0 {
			kept = append(kept, one)
		} else {
			due = append(due, one.then)
		}
	}
	s.plans = kept
	for _, then := range due {
		parts := strings.SplitN(then, "?", 2)
		query, _ := url.ParseQuery(nth(parts, 1))
		if _, err := s.command(parts[0], query); err != nil {
			fmt.Fprintln(os.Stderr, "vcenter-sim: scheduled", then, err)
		}
	}
}

func (s *sim) command(name string, q url.Values) (interface{}, error) {
	vm := s.vm(q.Get("vm"))
	if q.Get("vm") != "" && vm == nil {
		return nil, fmt.Errorf("no VM is named %q", q.Get("vm"))
	}
	of := map[string]func(*simulator.VirtualMachine, url.Values) (interface{}, error){
		"info": s.info, "write": s.write, "ctkreset": s.resetTracking, "ctk": s.setTracking, "revert": s.revertNow,
		"recrypt": s.recryptNow, "hide": s.hideProperty, "poweron": s.powerOnNow, "poweroff": s.powerOffNow, "config": s.setConfig,
		"snapshot": s.snapshotNow, "unsnapshot": s.removeNow,
	}
	if call, ok := of[name]; ok {
		if vm == nil {
			return nil, fmt.Errorf("vm is missing")
		}
		return call(vm, q)
	}
	switch name {
	case "addvm", "vm":
		return s.addNow(q)
	case "kms":
		return nil, s.setKMS(q)
	case "losekey":
		return nil, s.loseKey(q)
	case "provider":
		return nil, s.setProvider(q)
	case "policy":
		return nil, s.setPolicy(q)
	case "deny":
		s.denied = append(s.denied, denial{privilege: q.Get("priv"), object: q.Get("object"), calls: q.Get("calls") == "true"})
		return nil, nil
	case "allow":
		var kept []denial
		for _, d := range s.denied {
			if q.Get("priv") != "" && d.privilege != q.Get("priv") {
				kept = append(kept, d)
			}
		}
		s.denied = kept
		return nil, nil
	case "fail":
		return nil, s.addFault(q)
	case "http":
		return nil, s.addHTTP(q)
	case "slow":
		wait := time.Duration(number(q.Get("ms"))) * time.Millisecond
		s.faults.slow = append(s.faults.slow, &slowTask{method: q.Get("method"), left: count(q), wait: wait})
		return nil, nil
	case "datastore":
		return nil, s.setDatastore(q)
	case "when":
		if q.Get("then") == "" {
			return nil, fmt.Errorf("then is missing")
		}
		s.plans = append(s.plans, &scheduled{method: q.Get("method"), left: count(q), then: q.Get("then")})
		return nil, nil
	case "restart":
		s.restart(time.Duration(number(q.Get("ms"))) * time.Millisecond)
		return nil, nil
	case "expire":
		s.sessions.live = map[string]*session{}
		return nil, nil
	case "host":
		return nil, s.setHost(q)
	case "calls":
		calls := append([]string{}, s.calls...)
		if q.Get("clear") == "true" {
			s.calls = nil
		}
		return calls, nil
	case "state":
		return s.state(), nil
	case "clean":
		_, _ = s.holds.command("release", nil)
		s.faults.mu.Lock()
		s.faults.list, s.faults.http, s.faults.slow = nil, nil, nil
		s.faults.mu.Unlock()
		s.denied, s.plans = nil, nil
		return nil, nil
	}
	return nil, fmt.Errorf("no control call is named %q", name)
}

// parseKey reads provider/key; without a provider it is the usual one.
func parseKey(text string) *types.CryptoKeyId {
	parts := strings.SplitN(text, "/", 2)
	if len(parts) == 1 {
		return keyID("kms-prod", parts[0])
	}
	return keyID(parts[0], parts[1])
}

func bytesOf(q url.Values, name string) int64 {
	n, _ := strconv.ParseInt(q.Get(name), 10, 64)
	return n
}

func listed(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func (s *sim) addNow(q url.Values) (interface{}, error) {
	w := wanted{
		name: q.Get("name"), datastore: q.Get("datastore"), homeKey: q.Get("homekey"), diskKeys: listed(q.Get("diskkeys")),
		homePolicy: q.Get("policy"), diskPolicies: listed(q.Get("diskpolicies")), tpm: q.Get("tpm") == "true",
		firmware: q.Get("firmware"), secureBoot: q.Get("secureboot") == "true", off: q.Get("off") == "true",
		neverRan: q.Get("neverran") == "true", template: q.Get("template") == "true", tracking: q.Get("ctk") == "true", mode: q.Get("mode"),
		sharing: q.Get("sharing"), firstClass: q.Get("fcd") == "true",
	}
	if w.name == "" {
		return nil, fmt.Errorf("name is missing")
	}
	for _, mib := range listed(q.Get("disks")) {
		n, err := strconv.ParseInt(mib, 10, 64)
		if err != nil || n <= 0 {
			return nil, fmt.Errorf("disks is a list of MiB")
		}
		w.disks = append(w.disks, n<<20)
	}
	vm, err := s.addMachine(w)
	if err != nil {
		return nil, err
	}
	return s.info(vm, q)
}
