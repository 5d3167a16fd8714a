package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// vm finds a VM by name or by moref.
func (s *sim) vm(name string) *simulator.VirtualMachine {
	for _, entity := range simulator.Map.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		if vm.Name == name || vm.Self.Value == name {
			return vm
		}
	}
	return nil
}

func vmOf(ref types.ManagedObjectReference) *simulator.VirtualMachine {
	vm, _ := simulator.Map.Get(ref).(*simulator.VirtualMachine)
	return vm
}

// machine gives what we keep beside a VM.
func (s *sim) machine(vm *simulator.VirtualMachine) *machine {
	m, ok := s.machines[vm.Self.Value]
	if !ok {
		m = &machine{diskPolicies: map[int32]string{}, tracks: map[int32]*track{}, stateFiles: map[string]string{}, frozenAt: map[string]time.Time{}}
		s.machines[vm.Self.Value] = m
	}
	return m
}

func disksOf(config *types.VirtualMachineConfigInfo) []*types.VirtualDisk {
	var disks []*types.VirtualDisk
	for _, device := range config.Hardware.Device {
		if disk, ok := device.(*types.VirtualDisk); ok {
			disks = append(disks, disk)
		}
	}
	return disks
}

func flat(disk *types.VirtualDisk) *types.VirtualDiskFlatVer2BackingInfo {
	backing, _ := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	return backing
}

func capacity(disk *types.VirtualDisk) int64 {
	if disk.CapacityInBytes != 0 {
		return disk.CapacityInBytes
	}
	return disk.CapacityInKB * 1024
}

func diskOf(config *types.VirtualMachineConfigInfo, key int32) *types.VirtualDisk {
	for _, disk := range disksOf(config) {
		if disk.Key == key {
			return disk
		}
	}
	return nil
}

func extra(config *types.VirtualMachineConfigInfo, key string) string {
	for _, option := range config.ExtraConfig {
		if value := option.GetOptionValue(); value.Key == key {
			text, _ := value.Value.(string)
			return text
		}
	}
	return ""
}

// setExtra sets an option, or takes it out when the value is empty.
func setExtra(config *types.VirtualMachineConfigInfo, key, value string) {
	var options []types.BaseOptionValue
	for _, option := range config.ExtraConfig {
		if option.GetOptionValue().Key != key {
			options = append(options, option)
		}
	}
	if value != "" {
		options = append(options, &types.OptionValue{Key: key, Value: value})
	}
	config.ExtraConfig = options
}

func hasTPM(config *types.VirtualMachineConfigInfo) bool {
	for _, device := range config.Hardware.Device {
		if _, ok := device.(*types.VirtualTPM); ok {
			return true
		}
	}
	return false
}

func snapshotOf(ref types.ManagedObjectReference) *simulator.VirtualMachineSnapshot {
	snapshot, _ := simulator.Map.Get(ref).(*simulator.VirtualMachineSnapshot)
	return snapshot
}

// snapshotsOf lists the snapshots of a VM, parents before children.
func snapshotsOf(vm *simulator.VirtualMachine) []types.VirtualMachineSnapshotTree {
	var all []types.VirtualMachineSnapshotTree
	var walk func([]types.VirtualMachineSnapshotTree)
	walk = func(list []types.VirtualMachineSnapshotTree) {
		for _, item := range list {
			all = append(all, item)
			walk(item.ChildSnapshotList)
		}
	}
	if vm.Snapshot != nil {
		walk(vm.Snapshot.RootSnapshotList)
	}
	return all
}

// keyOf writes a KMS key id as provider/key.
func keyText(id *types.CryptoKeyId) string {
	if id == nil {
		return ""
	}
	if id.ProviderId == nil {
		return id.KeyId
	}
	return id.ProviderId.Id + "/" + id.KeyId
}

// stem is a disk's file name without extension and without the number of its delta.
func stem(name string) string {
	name = strings.TrimSuffix(name, ".vmdk")
	if n := len(name) - 7; n > 0 && name[n] == '-' && strings.Trim(name[n+1:], "0123456789") == "" {
		name = name[:n]
	}
	return name
}

func deltaName(base string, number int) string {
	return fmt.Sprintf("%s-%06d.vmdk", stem(base), number)
}
