package main

import (
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// encryption is what a ConfigSpec makes of a VM's parts. Indices are those of deviceChange.
type encryption struct {
	home         *types.CryptoKeyId
	bundle       string
	homePolicy   string
	disks        map[int]*types.CryptoKeyId
	diskPolicies map[int]string
}

func (s *sim) createVM(c *call) *reply {
	return s.task(c, func() (types.AnyType, types.BaseMethodFault) {
		vm, f := s.create(c.body.(*types.CreateVM_Task))
		if f != nil {
			return nil, f
		}
		return vm.Self, nil
	})
}

// create makes a VM as a vCenter with key providers does. A refused one leaves nothing.
func (s *sim) create(request *types.CreateVM_Task) (*simulator.VirtualMachine, types.BaseMethodFault) {
	spec := &request.Config
	if f := s.placeable(request); f != nil {
		return nil, f
	}
	plan, f := s.plan(spec, nil, spec.Firmware)
	if f != nil {
		return nil, f
	}
	s.arrange(spec, nil)
	response := &methods.CreateVM_TaskBody{}
	if f := s.ask(&methods.CreateVM_TaskBody{Req: request}, response); f != nil {
		return nil, f.VimFault().(types.BaseMethodFault)
	}
	result, f := finished(response.Res.Returnval)
	if f != nil {
		return nil, f
	}
	vm := vmOf(result.(types.ManagedObjectReference))
	// A VM that never ran has no NVRAM; the stock simulator makes an empty file.
	_ = os.Remove(s.local(directoryOf(vm) + "/" + vm.Name + ".nvram"))
	setExtra(vm.Config, "govcsim", "")
	vm.Capability.ChangeTrackingSupported = types.NewBool(true)
	vm.Capability.SnapshotOperationsSupported = true
	vm.Capability.SecureBootSupported = types.NewBool(true)
	setExtra(vm.Config, "nvram", path.Base(nvramOf(vm)))
	if f := s.settle(vm, spec, plan); f != nil {
		return nil, f
	}
	return vm, nil
}

// placeable refuses what the stock simulator would stumble over.
func (s *sim) placeable(request *types.CreateVM_Task) types.BaseMethodFault {
	spec := &request.Config
	if spec.Name == "" {
		return &types.InvalidVmConfig{Property: "configSpec.name"}
	}
	if s.vm(spec.Name) != nil {
		return &types.DuplicateName{Name: spec.Name, Object: s.vm(spec.Name).Self}
	}
	if spec.Files == nil {
		return &types.InvalidVmConfig{Property: "configSpec.files.vmPathName"}
	}
	var p object.DatastorePath
	if !p.FromString(spec.Files.VmPathName) || s.place.datastores[p.Datastore] == "" {
		return &types.InvalidDatastorePath{DatastorePath: spec.Files.VmPathName}
	}
	if simulator.Map.Get(request.Pool) == nil {
		return &types.ManagedObjectNotFound{Obj: request.Pool}
	}
	for i, change := range spec.DeviceChange {
		device := change.GetVirtualDeviceConfigSpec().Device
		if disk, ok := device.(*types.VirtualDisk); ok && flat(disk) == nil {
			return &types.InvalidDeviceBacking{InvalidDeviceSpec: types.InvalidDeviceSpec{DeviceIndex: int32(i)}}
		}
		if backing, ok := device.GetVirtualDevice().Backing.(*types.VirtualEthernetCardNetworkBackingInfo); ok {
			datacenter := simulator.Map.Get(s.place.datacenter).(*simulator.Datacenter)
			if simulator.Map.FindByName(backing.DeviceName, datacenter.Network) == nil {
				return &types.InvalidDeviceBacking{InvalidDeviceSpec: types.InvalidDeviceSpec{DeviceIndex: int32(i)}}
			}
		}
	}
	return nil
}

func profileOf(profiles []types.BaseVirtualMachineProfileSpec) string {
	for _, profile := range profiles {
		if defined, ok := profile.(*types.VirtualMachineDefinedProfileSpec); ok {
			return defined.ProfileId
		}
	}
	return ""
}

func optionOf(spec *types.VirtualMachineConfigSpec, key string) (string, bool) {
	for _, option := range spec.ExtraConfig {
		if value := option.GetOptionValue(); value.Key == key {
			text, _ := value.Value.(string)
			return text, true
		}
	}
	return "", false
}

func general(key, text string) types.BaseMethodFault {
	return said(&types.GenericVmConfigFault{Reason: text}, key, text)
}

// plan decides what gets which key, or refuses the spec. existing is the home key of a VM that is there already.
func (s *sim) plan(spec *types.VirtualMachineConfigSpec, existing *types.CryptoKeyId, firmware string) (*encryption, types.BaseMethodFault) {
	plan := &encryption{home: existing, disks: map[int]*types.CryptoKeyId{}, diskPolicies: map[int]string{}}
	if _, set := optionOf(spec, "dataFileKey"); set {
		return nil, said(&types.InvalidArgument{InvalidProperty: `config.extraConfig["dataFileKey"]`}, "vmsg.extraConfig", "dataFileKey cannot be set")
	}
	bundle, hasBundle := optionOf(spec, "encryption.bundle")
	plan.bundle = bundle
	plan.homePolicy = profileOf(spec.VmProfile)
	if plan.homePolicy != "" && s.policy(plan.homePolicy) == nil {
		return nil, &types.InvalidArgument{InvalidProperty: "configSpec.vmProfile"}
	}

	// One key for all parts of this request that are to be encrypted and name none.
	var generated *types.CryptoKeyId
	fresh := func(id *types.KeyProviderId) (*types.CryptoKeyId, types.BaseMethodFault) {
		if generated == nil {
			made, f := s.freshKey(id)
			if f != nil {
				return nil, f
			}
			generated = made
		}
		return generated, nil
	}
	resolve := func(crypto types.BaseCryptoSpec) (*types.CryptoKeyId, types.BaseMethodFault) {
		encrypt, ok := crypto.(*types.CryptoSpecEncrypt)
		if !ok {
			return nil, nil
		}
		if encrypt.CryptoKeyId.KeyId == "" {
			return fresh(encrypt.CryptoKeyId.ProviderId)
		}
		id := encrypt.CryptoKeyId
		if id.ProviderId == nil && s.kms.standard() != nil {
			id = *keyID(s.kms.standard().id, id.KeyId)
		}
		return &id, s.knownKey(&id)
	}

	id, f := resolve(spec.Crypto)
	if f != nil {
		return nil, f
	}
	if id != nil {
		plan.home = id
	}
	if plan.home == nil && hasBundle {
		text := "Key required for encryption.bundle."
		return nil, said(&types.SystemError{Reason: text}, "msg.hostd.bundle.key", text)
	}
	if plan.home == nil && s.encrypts(plan.homePolicy) {
		if plan.home, f = fresh(nil); f != nil {
			return nil, f
		}
	}

	if plan.home != nil && plan.bundle == "" && !sameKey(existing, plan.home) {
		if key, reason := s.keyState(plan.home); key == nil {
			return nil, locatorFault(fmt.Sprintf("no bundle can be made under key %s: %s", keyText(plan.home), reason))
		}
	}

	for i, change := range spec.DeviceChange {
		device := change.GetVirtualDeviceConfigSpec()
		if device.Operation != types.VirtualDeviceConfigSpecOperationAdd {
			continue
		}
		switch device.Device.(type) {
		case *types.VirtualTPM:
			if firmware != string(types.GuestOsDescriptorFirmwareTypeEfi) {
				return nil, general("msg.vtpm.add.notEfi", "A virtual TPM needs EFI firmware.")
			}
			if plan.home == nil {
				return nil, general("msg.vtpm.add.notEncrypted", "A virtual TPM needs an encrypted virtual machine.")
			}
		case *types.VirtualDisk:
			policy := profileOf(device.Profile)
			plan.diskPolicies[i] = policy
			var crypto types.BaseCryptoSpec
			if device.Backing != nil {
				crypto = device.Backing.Crypto
			}
			bad := types.InvalidDeviceSpec{DeviceIndex: int32(i)}
			if policy != "" && s.policy(policy) == nil {
				return nil, said(&types.InvalidDeviceSpec{InvalidVmConfig: types.InvalidVmConfig{Property: fmt.Sprintf("configSpec.deviceChange[%d].profile", i)}, DeviceIndex: int32(i)}, "msg.hostd.deviceSpec.profile", "The storage policy is not known.")
			}
			id, f := resolve(crypto)
			if f != nil {
				return nil, f
			}
			if id != nil && policy != "" && !s.encrypts(policy) {
				return nil, said(&bad, "msg.hostd.deviceSpec.enc.badPolicy", "The storage policy of an encrypted disk does not encrypt.")
			}
			if id == nil && s.encrypts(policy) {
				if id, f = fresh(nil); f != nil {
					return nil, f
				}
			}
			if id != nil && plan.home == nil {
				return nil, said(&bad, "msg.hostd.deviceSpec.add.noencrypt", "An encrypted disk needs an encrypted virtual machine.")
			}
			plan.disks[i] = id
		}
	}
	return plan, nil
}

// arrange gives devices the keys that vSphere gives them: 1000 for the first SCSI controller, 2000 for its first disk.
// The stock simulator takes random ones.
func (s *sim) arrange(spec *types.VirtualMachineConfigSpec, config *types.VirtualMachineConfigInfo) {
	base := map[int32]int32{}
	if config != nil {
		for _, device := range config.Hardware.Device {
			if _, ok := device.(types.BaseVirtualController); ok {
				base[device.GetVirtualDevice().Key] = device.GetVirtualDevice().Key
			}
		}
	}
	nics, disks := int32(0), 0
	if config != nil {
		disks = len(disksOf(config))
	}
	for _, change := range spec.DeviceChange {
		one := change.GetVirtualDeviceConfigSpec()
		device := one.Device.GetVirtualDevice()
		if one.Operation != types.VirtualDeviceConfigSpecOperationAdd {
			continue
		}
		first := int32(-1)
		switch controller := one.Device.(type) {
		case types.BaseVirtualSCSIController:
			first = 1000 + controller.GetVirtualSCSIController().BusNumber
		case types.BaseVirtualSATAController:
			first = 15000 + controller.GetVirtualSATAController().BusNumber
		case *types.VirtualNVMEController:
			first = 31000 + controller.BusNumber
		case *types.VirtualIDEController:
			first = 200 + controller.BusNumber
		}
		if first >= 0 {
			base[device.Key] = first
			device.Key, device.ControllerKey = first, 0
		}
	}
	for _, change := range spec.DeviceChange {
		one := change.GetVirtualDeviceConfigSpec()
		device := one.Device.GetVirtualDevice()
		if one.Operation != types.VirtualDeviceConfigSpecOperationAdd {
			continue
		}
		if key, ok := base[device.ControllerKey]; ok {
			device.ControllerKey = key
		}
		switch kind := one.Device.(type) {
		case *types.VirtualDisk:
			disks++
			if device.UnitNumber != nil {
				device.Key = diskKey(device.ControllerKey, *device.UnitNumber)
			}
			if device.DeviceInfo == nil {
				device.DeviceInfo = &types.Description{Label: fmt.Sprintf("Hard disk %d", disks)}
			}
			if backing := flat(kind); backing != nil {
				backing.FileName = completed(backing.FileName)
			}
			kind.CapacityInBytes = capacity(kind)
			kind.CapacityInKB = kind.CapacityInBytes / 1024
		case types.BaseVirtualEthernetCard:
			device.Key = 4000 + nics
			nics++
		case *types.VirtualTPM:
			device.Key, device.ControllerKey = 11000, 100
			device.DeviceInfo = &types.Description{Label: "Virtual TPM"}
		}
	}
}

// completed leaves a file name out if it names a datastore only: then vCenter chooses.
func completed(name string) string {
	var p object.DatastorePath
	if p.FromString(name) && p.Path != "" {
		return name
	}
	return ""
}

func diskKey(controller, unit int32) int32 {
	switch {
	case controller >= 31000:
		return 32000 + (controller-31000)*16 + unit
	case controller >= 15000:
		return 16000 + (controller-15000)*30 + unit
	case controller >= 1000:
		return 2000 + (controller-1000)*16 + unit
	}
	return 3000 + (controller-200)*2 + unit
}

// settle writes keys, policies and disk files after the stock simulator has made the devices.
func (s *sim) settle(vm *simulator.VirtualMachine, spec *types.VirtualMachineConfigSpec, plan *encryption) types.BaseMethodFault {
	m := s.machine(vm)
	for i, change := range spec.DeviceChange {
		one := change.GetVirtualDeviceConfigSpec()
		disk, ok := one.Device.(*types.VirtualDisk)
		if !ok || one.Operation != types.VirtualDeviceConfigSpecOperationAdd {
			continue
		}
		backing := flat(disk)
		backing.KeyId = plan.disks[i]
		backing.ChangeId = ""
		if backing.Uuid == "" {
			backing.Uuid = "6000C29" + strings.ToLower(s.derivedUUID(s.mint("disk"))[7:])
		}
		if id := plan.diskPolicies[i]; id != "" {
			m.diskPolicies[disk.Key] = id
		}
		if one.FileOperation == types.VirtualDeviceConfigSpecFileOperationCreate {
			if err := newDisk(s.local(backing.FileName), capacity(disk)); err != nil {
				return &types.CannotCreateFile{FileFault: types.FileFault{File: backing.FileName}}
			}
			// The stock simulator makes an extent file too; ours has its content under the name of the descriptor.
			_ = os.Remove(s.local(strings.TrimSuffix(backing.FileName, ".vmdk") + "-flat.vmdk"))
		}
	}
	if plan.homePolicy != "" {
		m.homePolicy = plan.homePolicy
	}
	if plan.home != nil {
		bundle := plan.bundle
		if bundle == "" && !sameKey(vm.Config.KeyId, plan.home) {
			key, reason := s.keyState(plan.home)
			if key == nil {
				return locatorFault(fmt.Sprintf("no bundle can be made under key %s: %s", keyText(plan.home), reason))
			}
			bundle = s.bundle(plan.home, key, s.derived(s.mint("data key")))
		}
		vm.Config.KeyId = plan.home
		if bundle != "" {
			setExtra(vm.Config, "encryption.bundle", bundle)
		}
	}
	s.relist(vm)
	return nil
}

func sameKey(a, b *types.CryptoKeyId) bool { return a != nil && b != nil && keyText(a) == keyText(b) }

func (s *sim) reconfigVM(c *call) *reply {
	return s.task(c, func() (types.AnyType, types.BaseMethodFault) {
		vm := vmOf(c.this)
		if vm == nil {
			return nil, &types.ManagedObjectNotFound{Obj: c.this}
		}
		return nil, s.reconfigure(vm, c.body.(*types.ReconfigVM_Task))
	})
}

func (s *sim) reconfigure(vm *simulator.VirtualMachine, request *types.ReconfigVM_Task) types.BaseMethodFault {
	spec := &request.Spec
	if spec.ChangeTrackingEnabled != nil && *spec.ChangeTrackingEnabled && vm.Config.Version < "vmx-07" {
		return &types.NotSupported{}
	}
	if spec.Crypto != nil && len(snapshotsOf(vm)) > 0 {
		return said(&types.InvalidVmConfig{Property: "configSpec.crypto"}, "msg.hostd.configSpec.enc.snapshots", "Encryption cannot be changed while there are snapshots.")
	}
	firmware := spec.Firmware
	if firmware == "" {
		firmware = vm.Config.Firmware
	}
	plan, f := s.plan(spec, vm.Config.KeyId, firmware)
	if f != nil {
		return f
	}
	s.arrange(spec, vm.Config)
	options := spec.ExtraConfig
	spec.ExtraConfig = nil
	response := &methods.ReconfigVM_TaskBody{}
	if f := s.ask(&methods.ReconfigVM_TaskBody{Req: request}, response); f != nil {
		return f.VimFault().(types.BaseMethodFault)
	}
	if _, f := finished(response.Res.Returnval); f != nil {
		return f
	}
	// The stock simulator appends an option that is there already.
	for _, option := range options {
		if value := option.GetOptionValue(); value.Key != "encryption.bundle" {
			text, _ := value.Value.(string)
			setExtra(vm.Config, value.Key, text)
		}
	}
	if spec.ChangeTrackingEnabled != nil && !*spec.ChangeTrackingEnabled {
		s.machine(vm).tracks = map[int32]*track{}
		for _, disk := range disksOf(vm.Config) {
			flat(disk).ChangeId = ""
		}
	}
	return s.settle(vm, spec, plan)
}

// recrypt puts a VM under another KMS key: keyId and bundle change together, the data key stays, so NVRAM does too.
// deep makes a new data key as well, and the NVRAM file changes with it.
func (s *sim) recrypt(vm *simulator.VirtualMachine, to *types.CryptoKeyId, deep bool, disks bool) error {
	if vm.Config.KeyId == nil {
		return fmt.Errorf("%s is not encrypted", vm.Name)
	}
	dataKey, ok := s.openBundle(vm.Config.KeyId, extra(vm.Config, "encryption.bundle"))
	if !ok {
		return fmt.Errorf("%s: its bundle does not open", vm.Name)
	}
	key, reason := s.keyState(to)
	if key == nil {
		return fmt.Errorf("key %s: %s", keyText(to), reason)
	}
	if deep {
		bytes, err := os.ReadFile(s.local(nvramOf(vm)))
		fresh := s.derived(s.mint("data key"))
		if err == nil && strings.HasPrefix(string(bytes), nvramMagic) {
			if content, ok := unsealed(dataKey, bytes[len(nvramMagic):]); ok {
				if err := s.writeNVRAM(vm, fresh, content); err != nil {
					return err
				}
			}
		}
		dataKey = fresh
	}
	setExtra(vm.Config, "encryption.bundle", s.bundle(to, key, dataKey))
	vm.Config.KeyId = to
	if disks {
		for _, disk := range disksOf(vm.Config) {
			if flat(disk).KeyId != nil {
				flat(disk).KeyId = to
			}
		}
	}
	return nil
}
