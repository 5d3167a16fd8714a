package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

func (s *sim) powerOn(c *call) *reply {
	return s.task(c, func() (types.AnyType, types.BaseMethodFault) {
		vm := vmOf(c.this)
		if vm == nil {
			return nil, &types.ManagedObjectNotFound{Obj: c.this}
		}
		return nil, s.boot(vm)
	})
}

// boot is a power-on: keys first, then NVRAM, then the machine.
func (s *sim) boot(vm *simulator.VirtualMachine) types.BaseMethodFault {
	if vm.Config.Template {
		return &types.InvalidState{}
	}
	if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
		return &types.InvalidPowerState{RequestedState: "poweredOn", ExistingState: vm.Runtime.PowerState}
	}
	m := s.machine(vm)
	required := &types.EncryptionKeyRequired{}
	var dataKey []byte
	if id := vm.Config.KeyId; id != nil {
		if host := hostOf(vm); host != nil && host.Runtime.CryptoState == "incapable" {
			text := "The host is not capable of encryption."
			return said(&types.GenericVmConfigFault{Reason: text}, "msg.hostd.host.crypto.incapable", text)
		}
		key, ok := s.openBundle(id, extra(vm.Config, "encryption.bundle"))
		if !ok {
			required.RequiredKey = append(required.RequiredKey, *id)
		}
		dataKey = key
	}
	for _, disk := range disksOf(vm.Config) {
		if id := flat(disk).KeyId; id != nil {
			if _, reason := s.keyState(id); reason != "" {
				required.RequiredKey = append(required.RequiredKey, *id)
			}
		}
	}
	if len(required.RequiredKey) > 0 {
		m.nvram, m.nvramContent = "locked", ""
		vm.Runtime.CryptoState = "locked"
		return said(required, "msg.encryption.keyRequired", "The virtual machine is locked: its key is not available.")
	}
	if vm.Config.KeyId != nil {
		vm.Runtime.CryptoState = "unlocked"
	}
	if err := s.bootNVRAM(vm, dataKey); err != nil {
		return &types.FileFault{File: nvramOf(vm)}
	}
	response := &methods.PowerOnVM_TaskBody{}
	if f := s.ask(&methods.PowerOnVM_TaskBody{Req: &types.PowerOnVM_Task{This: vm.Self}}, response); f != nil {
		return f.VimFault().(types.BaseMethodFault)
	}
	_, f := finished(response.Res.Returnval)
	s.relist(vm)
	return f
}

func (s *sim) powerOff(c *call) *reply {
	return s.task(c, func() (types.AnyType, types.BaseMethodFault) {
		response := &methods.PowerOffVM_TaskBody{}
		if f := s.ask(&methods.PowerOffVM_TaskBody{Req: c.body.(*types.PowerOffVM_Task)}, response); f != nil {
			return nil, f.VimFault().(types.BaseMethodFault)
		}
		return finished(response.Res.Returnval)
	})
}

func hostOf(vm *simulator.VirtualMachine) *simulator.HostSystem {
	if vm.Runtime.Host == nil {
		return nil
	}
	host, _ := simulator.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem)
	return host
}

func (s *sim) destroy(c *call) *reply {
	return s.task(c, func() (types.AnyType, types.BaseMethodFault) {
		vm := vmOf(c.this)
		response := &methods.Destroy_TaskBody{}
		if f := s.ask(&methods.Destroy_TaskBody{Req: c.body.(*types.Destroy_Task)}, response); f != nil {
			return nil, f.VimFault().(types.BaseMethodFault)
		}
		_, f := finished(response.Res.Returnval)
		if f == nil && vm != nil {
			delete(s.machines, vm.Self.Value)
		}
		return nil, f
	})
}
