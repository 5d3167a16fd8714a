package main

import (
	"fmt"
	"net/url"
	"os"
	"syscall"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Control calls on a VM: what guests, administrators and bad luck do to it.

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

// snapshotNow makes a snapshot that is not the client's.
func (s *sim) snapshotNow(vm *simulator.VirtualMachine, q url.Values) (interface{}, error) {
	request := &types.CreateSnapshot_Task{This: vm.Self, Name: q.Get("name"), Description: q.Get("description")}
	ref, f := s.takeSnapshot(vm, request)
	if f != nil {
		return nil, fmt.Errorf("%T", f)
	}
	return map[string]string{"moref": ref.Value}, nil
}

func (s *sim) removeNow(vm *simulator.VirtualMachine, q url.Values) (interface{}, error) {
	for _, item := range snapshotsOf(vm) {
		if item.Snapshot.Value == q.Get("snapshot") || item.Name == q.Get("snapshot") {
			if f := s.removeOne(&types.RemoveSnapshot_Task{This: item.Snapshot}); f != nil {
				return nil, fmt.Errorf("%T", f)
			}
			return nil, nil
		}
	}
	return nil, fmt.Errorf("%s has no snapshot %q", vm.Name, q.Get("snapshot"))
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
