package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// A snapshot keeps the file names that the VM had, and their content stands still; the VM goes on in a copy named
// …-000001.vmdk. The stock simulator has one file for both, where a wrong file name would go unnoticed.

func (s *sim) createSnapshot(c *call) *reply {
	return s.task(c, func() (types.AnyType, types.BaseMethodFault) {
		vm := vmOf(c.this)
		if vm == nil {
			return nil, &types.ManagedObjectNotFound{Obj: c.this}
		}
		ref, f := s.takeSnapshot(vm, c.body.(*types.CreateSnapshot_Task))
		if f != nil {
			return nil, f
		}
		return ref, nil
	})
}

func (s *sim) takeSnapshot(vm *simulator.VirtualMachine, request *types.CreateSnapshot_Task) (types.ManagedObjectReference, types.BaseMethodFault) {
	none := types.ManagedObjectReference{}
	if vm.Config.Template {
		return none, &types.NotSupported{}
	}
	s.stun(vm)
	before := s.stateFiles(vm)
	response := &methods.CreateSnapshot_TaskBody{}
	if f := s.ask(&methods.CreateSnapshot_TaskBody{Req: request}, response); f != nil {
		return none, f.VimFault().(types.BaseMethodFault)
	}
	result, f := finished(response.Res.Returnval)
	if f != nil {
		return none, f
	}
	ref := result.(types.ManagedObjectReference)
	snapshot := snapshotOf(ref)
	snapshot.Config = types.VirtualMachineConfigInfo{}
	copied(vm.Config, &snapshot.Config)
	if err := s.branch(vm); err != nil {
		return none, &types.FileFault{File: err.Error()}
	}
	m := s.machine(vm)
	for name := range s.stateFiles(vm) {
		if !before[name] {
			m.stateFiles[ref.Value] = name
		}
	}
	s.relist(vm)
	return ref, nil
}

// stateFiles lists the .vmsn files of a VM: the stock simulator makes one per snapshot, and would not find it again in
// a layoutEx of ours.
func (s *sim) stateFiles(vm *simulator.VirtualMachine) map[string]bool {
	names := map[string]bool{}
	found, _ := filepath.Glob(filepath.Join(s.local(directoryOf(vm)), "*.vmsn"))
	for _, name := range found {
		names[name] = true
	}
	return names
}

// stun ends an epoch of every tracked disk and writes its changeId; tracking that was asked for begins here.
func (s *sim) stun(vm *simulator.VirtualMachine) {
	m := s.machine(vm)
	on := vm.Config.ChangeTrackingEnabled != nil && *vm.Config.ChangeTrackingEnabled
	for _, disk := range disksOf(vm.Config) {
		backing := flat(disk)
		if !on {
			delete(m.tracks, disk.Key)
			backing.ChangeId = ""
			continue
		}
		t := m.tracks[disk.Key]
		if t == nil {
			t = s.newTrack()
			m.tracks[disk.Key] = t
		}
		t.epoch++
		sequence := t.epoch
		if m.ctk.name == "backwards" {
			sequence = 0
		}
		backing.ChangeId = fmt.Sprintf("%s/%d", t.uuid, sequence)
		if m.ctk.name == "nochangeid" {
			backing.ChangeId = ""
		}
	}
}

// branch puts the VM's disks on new delta files; what they were on stands still from now on.
func (s *sim) branch(vm *simulator.VirtualMachine) error {
	for _, disk := range disksOf(vm.Config) {
		backing := flat(disk)
		if independent(backing) {
			continue
		}
		old := *backing
		number := 1
		name := deltaName(old.FileName, number)
		for exists(s.local(name)) {
			number++
			name = deltaName(old.FileName, number)
		}
		if err := sparseCopy(s.local(old.FileName), s.local(name)); err != nil {
			return err
		}
		if about, err := os.Stat(s.local(old.FileName)); err == nil {
			s.machine(vm).frozenAt[old.FileName] = about.ModTime()
		}
		backing.FileName = name
		backing.Parent = &old
	}
	return nil
}

// writtenBelow tells whether somebody has written to a frozen file while the VM was off: as HotAdd does, under a snapshot whose
// delta is empty. Then what stands below is the disk, and the delta has nothing to add.
func (s *sim) writtenBelow(vm *simulator.VirtualMachine, frozen string) bool {
	about, err := os.Stat(s.local(frozen))
	at, known := s.machine(vm).frozenAt[frozen]
	return err == nil && known && !about.ModTime().Equal(at) && vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOff
}

func independent(backing *types.VirtualDiskFlatVer2BackingInfo) bool {
	return len(backing.DiskMode) >= 11 && backing.DiskMode[:11] == "independent"
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func (s *sim) removeSnapshot(c *call) *reply {
	return s.task(c, func() (types.AnyType, types.BaseMethodFault) {
		request := c.body.(*types.RemoveSnapshot_Task)
		return nil, s.removeOne(request)
	})
}

func (s *sim) removeOne(request *types.RemoveSnapshot_Task) types.BaseMethodFault {
	snapshot := snapshotOf(request.This)
	if snapshot == nil {
		return &types.ManagedObjectNotFound{Obj: request.This}
	}
	vm := vmOf(snapshot.Vm)
	if request.RemoveChildren {
		for _, item := range snapshotsOf(vm) {
			if item.Snapshot == request.This {
				for _, child := range item.ChildSnapshotList {
					if f := s.removeOne(&types.RemoveSnapshot_Task{This: child.Snapshot, RemoveChildren: true}); f != nil {
						return f
					}
				}
			}
		}
	}
	frozen := snapshot.Config
	response := &methods.RemoveSnapshot_TaskBody{}
	if f := s.ask(&methods.RemoveSnapshot_TaskBody{Req: request}, response); f != nil {
		return f.VimFault().(types.BaseMethodFault)
	}
	if _, f := finished(response.Res.Returnval); f != nil {
		return f
	}
	m := s.machine(vm)
	if name := m.stateFiles[request.This.Value]; name != "" {
		_ = os.Remove(name)
		delete(m.stateFiles, request.This.Value)
	}
	for _, disk := range disksOf(&frozen) {
		s.foldBack(vm, flat(disk).FileName)
	}
	s.relist(vm)
	return nil
}

// foldBack gives the only child of a frozen file its name: the child holds the whole content already, unless the file below it
// was written to.
// With several children (after a revert) the file stays, as a parent must.
func (s *sim) foldBack(vm *simulator.VirtualMachine, frozen string) {
	configs := []*types.VirtualMachineConfigInfo{vm.Config}
	for _, item := range snapshotsOf(vm) {
		if snapshot := snapshotOf(item.Snapshot); snapshot != nil {
			configs = append(configs, &snapshot.Config)
		}
	}
	children := map[string]bool{}
	for _, config := range configs {
		for _, disk := range disksOf(config) {
			for backing := flat(disk); backing != nil; backing = backing.Parent {
				if backing.FileName == frozen && backing == flat(disk) {
					return // another snapshot is still on it
				}
				if backing.Parent != nil && backing.Parent.FileName == frozen {
					children[backing.FileName] = true
				}
			}
		}
	}
	if len(children) == 0 {
		_ = os.Remove(s.local(frozen))
	}
	if len(children) != 1 {
		return
	}
	for child := range children {
		if s.writtenBelow(vm, frozen) {
			_ = os.Remove(s.local(child))
		} else if os.Rename(s.local(child), s.local(frozen)) != nil {
			return
		}
		for _, config := range configs {
			for _, disk := range disksOf(config) {
				for backing := flat(disk); backing != nil; backing = backing.Parent {
					if backing.FileName == child {
						backing.FileName = frozen
						backing.Parent = backing.Parent.Parent
					}
				}
			}
		}
	}
}

func (s *sim) removeAllSnapshots(c *call) *reply {
	return s.task(c, func() (types.AnyType, types.BaseMethodFault) {
		vm := vmOf(c.this)
		all := snapshotsOf(vm)
		for i := len(all) - 1; i >= 0; i-- {
			if f := s.removeOne(&types.RemoveSnapshot_Task{This: all[i].Snapshot}); f != nil {
				return nil, f
			}
		}
		return nil, nil
	})
}

func (s *sim) revertToSnapshot(c *call) *reply {
	return s.task(c, func() (types.AnyType, types.BaseMethodFault) {
		snapshot := snapshotOf(c.this)
		if snapshot == nil {
			return nil, &types.ManagedObjectNotFound{Obj: c.this}
		}
		return nil, s.revert(snapshot, trackingIsReset)
	})
}

type afterRevert int

const (
	// What KB articles describe: the next changeId has another UUID.
	trackingIsReset afterRevert = iota
	// Tracking goes on and does not know: only reading unchanged areas can find it.
	trackingGoesOn
)

// revert puts the VM's disks on fresh copies of what the snapshot holds.
func (s *sim) revert(snapshot *simulator.VirtualMachineSnapshot, after afterRevert) types.BaseMethodFault {
	vm := vmOf(snapshot.Vm)
	request := &types.RevertToSnapshot_Task{This: snapshot.Self}
	response := &methods.RevertToSnapshot_TaskBody{}
	if f := s.ask(&methods.RevertToSnapshot_TaskBody{Req: request}, response); f != nil {
		return f.VimFault().(types.BaseMethodFault)
	}
	for _, disk := range disksOf(vm.Config) {
		held := diskOf(&snapshot.Config, disk.Key)
		backing := flat(disk)
		if held == nil || independent(backing) {
			continue
		}
		_ = os.Remove(s.local(backing.FileName))
		changeID := backing.ChangeId
		*backing = types.VirtualDiskFlatVer2BackingInfo{}
		copied(flat(held), backing)
		backing.ChangeId = changeID
	}
	if err := s.branch(vm); err != nil {
		return &types.FileFault{File: err.Error()}
	}
	if after == trackingIsReset {
		s.machine(vm).tracks = map[int32]*track{}
	}
	s.relist(vm)
	return nil
}
