package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strconv"
	"strings"
	"syscall"

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
	s.mu.Lock()
	result, err := s.command(strings.TrimPrefix(r.URL.Path, "/ctl/"), r.URL.Query())
	s.mu.Unlock()
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

var plans []*scheduled

// runScheduled runs what was planned for this call. method is a SOAP method or a verb of /folder.
func (s *sim) runScheduled(method string) {
	var kept []*scheduled
	var due []string
	for _, one := range plans {
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
	plans = kept
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
	case "when":
		if q.Get("then") == "" {
			return nil, fmt.Errorf("then is missing")
		}
		plans = append(plans, &scheduled{method: q.Get("method"), left: count(q), then: q.Get("then")})
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
		s.faults.mu.Lock()
		s.faults.list, s.faults.http = nil, nil
		s.faults.mu.Unlock()
		s.denied, plans = nil, nil
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

func (s *sim) write(vm *simulator.VirtualMachine, q url.Values) (interface{}, error) {
	key := int32(2000)
	if q.Get("key") != "" {
		key = number(q.Get("key"))
	}
	disk := diskOf(vm.Config, key)
	if disk == nil {
		return nil, fmt.Errorf("%s has no disk %d", vm.Name, key)
	}
	offset, length := bytesOf(q, "off"), bytesOf(q, "len")
	if offset < 0 || length <= 0 || offset+length > capacity(disk) {
		return nil, fmt.Errorf("off and len are outside the disk")
	}
	file, err := os.OpenFile(s.local(flat(disk).FileName), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if q.Get("zero") == "true" {
		const keepSize, punchHole = 1, 2
		if err := syscall.Fallocate(int(file.Fd()), keepSize|punchHole, offset, length); err != nil {
			return nil, err
		}
	} else {
		name := q.Get("content")
		if name == "" {
			name = s.mint("write")
		}
		if _, err := file.WriteAt(pattern(name, length), offset); err != nil {
			return nil, err
		}
	}
	if t := s.machine(vm).tracks[key]; t != nil && q.Get("unseen") != "true" {
		t.note(offset, length)
	}
	return map[string]string{"file": s.local(flat(disk).FileName)}, nil
}

func (s *sim) resetTracking(vm *simulator.VirtualMachine, _ url.Values) (interface{}, error) {
	s.machine(vm).tracks = map[int32]*track{}
	return nil, nil
}

func (s *sim) setTracking(vm *simulator.VirtualMachine, q url.Values) (interface{}, error) {
	for _, mode := range ctkModes {
		if mode == q.Get("mode") {
			s.machine(vm).ctk = ctkMode{name: mode, split: bytesOf(q, "split")}
			if q.Get("enabled") != "" {
				vm.Config.ChangeTrackingEnabled = types.NewBool(q.Get("enabled") == "true")
			}
			return nil, nil
		}
	}
	return nil, fmt.Errorf("mode is one of %q", ctkModes)
}

func (s *sim) revertNow(vm *simulator.VirtualMachine, q url.Values) (interface{}, error) {
	all := snapshotsOf(vm)
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no snapshot", vm.Name)
	}
	to := all[len(all)-1].Snapshot
	for _, item := range all {
		if item.Snapshot.Value == q.Get("snapshot") || item.Name == q.Get("snapshot") {
			to = item.Snapshot
		}
	}
	after := trackingIsReset
	if q.Get("tracking") == "goes-on" {
		after = trackingGoesOn
	}
	if f := s.revert(snapshotOf(to), after); f != nil {
		return nil, fmt.Errorf("%T", f)
	}
	return nil, nil
}

func (s *sim) recryptNow(vm *simulator.VirtualMachine, q url.Values) (interface{}, error) {
	name := q.Get("key")
	if name == "" {
		name = "kms-prod/" + s.derivedUUID(s.mint("key"))
	}
	if err := s.recrypt(vm, s.ensureKey(name), q.Get("deep") == "true", q.Get("disks") == "true"); err != nil {
		return nil, err
	}
	return map[string]string{"key": name}, nil
}

func (s *sim) hideProperty(vm *simulator.VirtualMachine, q url.Values) (interface{}, error) {
	s.machine(vm).hidden = nil
	if path := q.Get("path"); path != "" {
		s.machine(vm).hidden = []string{path}
	}
	return nil, nil
}

func (s *sim) powerOnNow(vm *simulator.VirtualMachine, q url.Values) (interface{}, error) {
	if f := s.boot(vm); f != nil {
		return map[string]string{"fault": fmt.Sprintf("%T", f), "text": messageOf(f)}, nil
	}
	return s.info(vm, q)
}

func (s *sim) powerOffNow(vm *simulator.VirtualMachine, q url.Values) (interface{}, error) {
	vm.PowerOffVMTask(&simulator.Context{Context: background, Map: simulator.Map, Session: &simulator.Session{Registry: simulator.NewRegistry()}}, &types.PowerOffVM_Task{This: vm.Self})
	return s.info(vm, q)
}

// setConfig sets or takes out one option of extraConfig, or keyId: for a VM that lacks half of its encryption.
func (s *sim) setConfig(vm *simulator.VirtualMachine, q url.Values) (interface{}, error) {
	if q.Get("extra") != "" {
		setExtra(vm.Config, q.Get("extra"), q.Get("value"))
	}
	if q["keyid"] != nil {
		vm.Config.KeyId = nil
		if q.Get("keyid") != "" {
			vm.Config.KeyId = parseKey(q.Get("keyid"))
		}
	}
	if mode := q.Get("connection"); mode != "" {
		vm.Runtime.ConnectionState = types.VirtualMachineConnectionState(mode)
	}
	if q.Get("consolidation") != "" {
		vm.Runtime.ConsolidationNeeded = types.NewBool(q.Get("consolidation") == "true")
	}
	if q.Get("nvram") == "delete" {
		_ = os.Remove(s.local(nvramOf(vm)))
		s.relist(vm)
	}
	return s.info(vm, q)
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

func (s *sim) setKMS(q url.Values) error {
	switch q.Get("create") {
	case "refuse":
		s.kms.strictCreate = true
	case "allow":
		s.kms.strictCreate = false
	}
	switch q.Get("bundle") {
	case "lenient":
		s.kms.lenientBundle = true
	case "strict":
		s.kms.lenientBundle = false
	}
	if q.Get("up") == "" {
		return nil
	}
	for _, p := range s.kms.providers {
		if q.Get("id") == "" || q.Get("id") == p.id {
			p.active = q.Get("up") == "true"
		}
	}
	return nil
}

func (s *sim) loseKey(q url.Values) error {
	id := parseKey(q.Get("id"))
	p := s.kms.find(id.ProviderId.Id)
	if p == nil {
		return fmt.Errorf("no provider %q", id.ProviderId.Id)
	}
	key := p.keys[id.KeyId]
	switch reason := q.Get("reason"); {
	case reason == "":
		delete(p.keys, id.KeyId)
	case key == nil:
		return fmt.Errorf("no key %q", q.Get("id"))
	case reason == "found":
		key.lost = ""
	default:
		key.lost = reason
	}
	return nil
}

func (s *sim) setProvider(q url.Values) error {
	if id := q.Get("add"); id != "" {
		p := &provider{id: id, active: true, native: q.Get("native") == "true", keys: map[string]*kmsKey{}}
		// A replica of another one has its keys; so has the same cluster under another name.
		if other := s.kms.find(q.Get("like")); other != nil {
			for name, key := range other.keys {
				p.keys[name] = &kmsKey{material: key.material}
			}
		}
		for _, name := range listed(q.Get("keys")) {
			s.addKey(p, name)
		}
		s.kms.providers = append(s.kms.providers, p)
	}
	if q["del"] != nil {
		var kept []*provider
		for _, p := range s.kms.providers {
			if q.Get("del") != "" && p.id != q.Get("del") {
				kept = append(kept, p)
			}
		}
		s.kms.providers = kept
	}
	if q["default"] != nil {
		for _, p := range s.kms.providers {
			p.standard = p.id == q.Get("default")
		}
	}
	return nil
}

func (s *sim) setPolicy(q url.Values) error {
	if id := q.Get("del"); id != "" {
		var kept []*policy
		for _, p := range s.policies {
			if p.id != id && p.name != id {
				kept = append(kept, p)
			}
		}
		s.policies = kept
	}
	if name := q.Get("add"); name != "" {
		p := &policy{id: q.Get("id"), name: name, category: "REQUIREMENT", namespace: "VSAN", capability: "hostFailuresToTolerate"}
		if p.id == "" {
			p.id = s.derivedUUID("policy/" + name)
		}
		switch q.Get("encrypts") {
		case "directly":
			p.namespace, p.capability = encryptionSpace, encryptionFilter
		case "true":
			p.dataService = dataServicePolicy
		}
		s.policies = append(s.policies, p)
	}
	if id := q.Get("rename"); id != "" {
		p := s.policy(id)
		if p == nil {
			return fmt.Errorf("no policy %q", id)
		}
		p.name = q.Get("to")
	}
	return nil
}

func (s *sim) setHost(q url.Values) error {
	for _, ref := range s.place.hosts {
		host := simulator.Map.Get(ref).(*simulator.HostSystem)
		if q.Get("name") != "" && host.Name != q.Get("name") {
			continue
		}
		if state := q.Get("crypto"); state != "" {
			host.Runtime.CryptoState = state
		}
		if q.Get("maintenance") != "" {
			host.Runtime.InMaintenanceMode = q.Get("maintenance") == "true"
		}
		if state := q.Get("connection"); state != "" {
			host.Runtime.ConnectionState = types.HostSystemConnectionState(state)
		}
	}
	return nil
}

type diskInfo struct {
	Key      int32  `json:"key"`
	File     string `json:"file"`
	Local    string `json:"local"`
	Capacity int64  `json:"capacity"`
	UUID     string `json:"uuid"`
	KeyID    string `json:"key_id"`
	ChangeID string `json:"change_id"`
	Policy   string `json:"policy"`
}

type snapshotInfo struct {
	Moref       string     `json:"moref"`
	Name        string     `json:"name"`
	Description string     `json:"description"`
	Quiesced    bool       `json:"quiesced"`
	Disks       []diskInfo `json:"disks"`
}

func (s *sim) disksInfo(m *machine, config *types.VirtualMachineConfigInfo) []diskInfo {
	list := []diskInfo{}
	for _, disk := range disksOf(config) {
		backing := flat(disk)
		list = append(list, diskInfo{
			Key: disk.Key, File: backing.FileName, Local: s.local(backing.FileName), Capacity: capacity(disk), UUID: backing.Uuid,
			KeyID: keyText(backing.KeyId), ChangeID: backing.ChangeId, Policy: m.diskPolicies[disk.Key],
		})
	}
	return list
}

func (s *sim) info(vm *simulator.VirtualMachine, _ url.Values) (interface{}, error) {
	m := s.machine(vm)
	snapshots := []snapshotInfo{}
	for _, item := range snapshotsOf(vm) {
		one := snapshotInfo{Moref: item.Snapshot.Value, Name: item.Name, Description: item.Description, Quiesced: item.Quiesced}
		if snapshot := snapshotOf(item.Snapshot); snapshot != nil {
			one.Disks = s.disksInfo(m, &snapshot.Config)
		}
		snapshots = append(snapshots, one)
	}
	nvram := s.local(nvramOf(vm))
	return map[string]interface{}{
		"moref": vm.Self.Value, "name": vm.Name, "uuid": vm.Config.Uuid, "instance_uuid": vm.Config.InstanceUuid,
		"vmx": vm.Config.Files.VmPathName, "directory": directoryOf(vm), "local": s.local(directoryOf(vm)),
		"power": string(vm.Runtime.PowerState), "template": vm.Config.Template, "firmware": vm.Config.Firmware,
		"secure_boot": vm.Config.BootOptions != nil && vm.Config.BootOptions.EfiSecureBootEnabled != nil && *vm.Config.BootOptions.EfiSecureBootEnabled,
		"key_id":      keyText(vm.Config.KeyId), "bundle": extra(vm.Config, "encryption.bundle"), "policy": m.homePolicy, "tpm": hasTPM(vm.Config),
		"change_tracking": vm.Config.ChangeTrackingEnabled != nil && *vm.Config.ChangeTrackingEnabled,
		"nvram":           m.nvram, "nvram_content": m.nvramContent, "nvram_file": nvramOf(vm), "nvram_local": nvram, "nvram_exists": exists(nvram),
		"disks": s.disksInfo(m, vm.Config), "snapshots": snapshots,
	}, nil
}

// state is what a cleanup has to leave as it was: VMs, their snapshots, files and flags.
func (s *sim) state() interface{} {
	vms := map[string]interface{}{}
	for _, entity := range simulator.Map.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		names := []string{}
		for _, item := range snapshotsOf(vm) {
			names = append(names, item.Name)
		}
		disks := []string{}
		for _, disk := range disksOf(vm.Config) {
			disks = append(disks, flat(disk).FileName)
		}
		files := []string{}
		entries, _ := os.ReadDir(s.local(directoryOf(vm)))
		for _, entry := range entries {
			files = append(files, entry.Name())
		}
		sort.Strings(files)
		vms[vm.Name] = map[string]interface{}{
			"snapshots": names, "disks": disks, "files": files, "power": string(vm.Runtime.PowerState), "key_id": keyText(vm.Config.KeyId),
			"change_tracking": vm.Config.ChangeTrackingEnabled != nil && *vm.Config.ChangeTrackingEnabled,
		}
	}
	return map[string]interface{}{"vms": vms}
}
