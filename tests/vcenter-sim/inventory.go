package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
)

// datacenterPath has a folder in it: without the folders /folder answers 404.
const datacenterPath = "Folder 1/DC1"

var serviceInstance = vim25.ServiceInstance

// buildInventory makes Folder 1/DC1 with Cluster1 of two hosts and the datastores ds1 and ds2, folders below the root.
func (s *sim) buildInventory() error {
	folder, err := object.NewRootFolder(s.client).CreateFolder(background, "Folder 1")
	if err != nil {
		return err
	}
	datacenter, err := folder.CreateDatacenter(background, "DC1")
	if err != nil {
		return err
	}
	folders, err := datacenter.Folders(background)
	if err != nil {
		return err
	}
	cluster, err := folders.HostFolder.CreateCluster(background, "Cluster1", types.ClusterConfigSpecEx{})
	if err != nil {
		return err
	}
	s.place.datastores = map[string]string{}
	for _, name := range []string{"esx1", "esx2"} {
		task, err := cluster.AddHost(background, types.HostConnectSpec{HostName: name}, true, nil, nil)
		if err != nil {
			return err
		}
		info, err := task.WaitForResult(background, nil)
		if err != nil {
			return err
		}
		ref := info.Result.(types.ManagedObjectReference)
		s.place.hosts = append(s.place.hosts, ref)
		simulator.Map.Get(ref).(*simulator.HostSystem).Runtime.CryptoState = "safe"
		system, err := object.NewHostSystem(s.client, ref).ConfigManager().DatastoreSystem(background)
		if err != nil {
			return err
		}
		for _, store := range []string{"ds1", "ds2"} {
			path := filepath.Join(s.options.root, store)
			if err := os.MkdirAll(path, 0o700); err != nil {
				return err
			}
			if _, err := system.CreateLocalDatastore(background, store, path); err != nil {
				return err
			}
			s.place.datastores[store] = path
		}
	}
	pool, err := cluster.ResourcePool(background)
	if err != nil {
		return err
	}
	s.place.datacenter = datacenter.Reference()
	s.place.vmFolder = folders.VmFolder.Reference()
	s.place.pool = pool.Reference()
	return nil
}

// wanted describes a VM to be made for a test.
type wanted struct {
	name         string
	datastore    string
	disks        []int64
	homeKey      string
	diskKeys     []string
	homePolicy   string
	diskPolicies []string
	tpm          bool
	firmware     string
	secureBoot   bool
	off          bool
	neverRan     bool
	template     bool
	tracking     bool
	mode         string
	sharing      string
	firstClass   bool
}

func (s *sim) usualMachines() error {
	size := s.options.diskMiB << 20
	for _, w := range []wanted{
		{name: "clear01", disks: []int64{size}, homePolicy: plainPolicy, diskPolicies: []string{plainPolicy}},
		{name: "enc01", disks: []int64{size}, homeKey: "kms-prod/key-enc01", diskKeys: []string{"kms-prod/key-enc01"}, homePolicy: samplePolicy, diskPolicies: []string{samplePolicy}},
		{name: "tpm01", disks: []int64{size}, homeKey: "kms-prod/key-tpm01", homePolicy: samplePolicy, tpm: true, firmware: "efi", secureBoot: true},
		{name: "two01", disks: []int64{size, size / 2}, homeKey: "kms-prod/key-two01", diskKeys: []string{"kms-prod/key-two01-a", "kms-dr/key-two01-b"}, homePolicy: samplePolicy, diskPolicies: []string{samplePolicy, samplePolicy}},
		{name: "off01", disks: []int64{size}, off: true},
		{name: "tmpl01", disks: []int64{size / 4}, template: true},
	} {
		if _, err := s.addMachine(w); err != nil {
			return err
		}
	}
	return nil
}

// addMachine makes a VM as if it had run for years: disks have content, NVRAM is the guest's own.
func (s *sim) addMachine(w wanted) (*simulator.VirtualMachine, error) {
	if w.datastore == "" {
		w.datastore = "ds1"
	}
	if w.firmware == "" {
		w.firmware = "bios"
	}
	if w.mode == "" {
		w.mode = "persistent"
	}
	spec := types.VirtualMachineConfigSpec{
		Name: w.name, GuestId: "otherGuest64", Version: "vmx-19", NumCPUs: 2, NumCoresPerSocket: 1, MemoryMB: 2048,
		Uuid: s.derivedUUID("bios/" + w.name), InstanceUuid: s.derivedUUID("instance/" + w.name),
		Annotation:  "made for a test",
		Files:       &types.VirtualMachineFileInfo{VmPathName: "[" + w.datastore + "]"},
		Firmware:    w.firmware,
		BootOptions: &types.VirtualMachineBootOptions{EfiSecureBootEnabled: types.NewBool(w.secureBoot)},
	}
	if w.tracking {
		spec.ChangeTrackingEnabled = types.NewBool(true)
	}
	if w.homeKey != "" {
		id := s.ensureKey(w.homeKey)
		spec.Crypto = &types.CryptoSpecEncrypt{CryptoKeyId: *id}
	}
	if w.homePolicy != "" {
		spec.VmProfile = []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: w.homePolicy}}
	}
	spec.DeviceChange = s.devicesOf(w)

	vm, f := s.create(&types.CreateVM_Task{This: s.place.vmFolder, Config: spec, Pool: s.place.pool, Host: &s.place.hosts[0]})
	if f != nil {
		return nil, fmt.Errorf("%s: %T: %s", w.name, f, messageOf(f))
	}
	for _, disk := range disksOf(vm.Config) {
		if err := s.fill(vm.Name, disk); err != nil {
			return nil, err
		}
	}
	if !w.neverRan {
		var dataKey []byte
		if vm.Config.KeyId != nil {
			key, ok := s.openBundle(vm.Config.KeyId, extra(vm.Config, "encryption.bundle"))
			if !ok {
				return nil, fmt.Errorf("%s: its own bundle does not open", w.name)
			}
			dataKey = key
		}
		if err := s.writeNVRAM(vm, dataKey, nvramContent("original", s.options.seed+"-"+w.name)); err != nil {
			return nil, err
		}
	}
	s.relist(vm)
	switch {
	case w.template:
		vm.MarkAsTemplate(&types.MarkAsTemplate{This: vm.Self})
	case !w.off && !w.neverRan:
		if f := s.boot(vm); f != nil {
			return nil, fmt.Errorf("%s does not boot: %T", w.name, f)
		}
	}
	return vm, nil
}

// ensureKey makes the key of "provider/key" in a provider that is there.
func (s *sim) ensureKey(text string) *types.CryptoKeyId {
	id := parseKey(text)
	if p := s.kms.find(id.ProviderId.Id); p != nil {
		return s.addKey(p, id.KeyId)
	}
	return id
}

func (s *sim) devicesOf(w wanted) []types.BaseVirtualDeviceConfigSpec {
	add := types.VirtualDeviceConfigSpecOperationAdd
	controller := &types.ParaVirtualSCSIController{}
	controller.Key, controller.BusNumber, controller.SharedBus = -101, 0, types.VirtualSCSISharingNoSharing
	changes := []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{Operation: add, Device: controller}}
	for i, bytes := range w.disks {
		unit := int32(i)
		if unit >= 7 {
			unit++
		}
		disk := &types.VirtualDisk{CapacityInBytes: bytes, CapacityInKB: bytes / 1024}
		disk.Key, disk.ControllerKey, disk.UnitNumber = int32(-200-i), -101, &unit
		backing := &types.VirtualDiskFlatVer2BackingInfo{DiskMode: w.mode, ThinProvisioned: types.NewBool(true), Sharing: w.sharing}
		if w.firstClass {
			disk.VDiskId = &types.ID{Id: s.derivedUUID(w.name + "/fcd")}
		}
		disk.Backing = backing
		one := &types.VirtualDeviceConfigSpec{Operation: add, FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate, Device: disk}
		if policy := nth(w.diskPolicies, i); policy != "" {
			one.Profile = []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: policy}}
		}
		if key := nth(w.diskKeys, i); key != "" {
			one.Backing = &types.VirtualDeviceConfigSpecBackingSpec{Crypto: &types.CryptoSpecEncrypt{CryptoKeyId: *s.ensureKey(key)}}
		}
		changes = append(changes, one)
	}
	nic := &types.VirtualVmxnet3{}
	nic.Key, nic.AddressType = -300, "generated"
	nic.Backing = &types.VirtualEthernetCardNetworkBackingInfo{
		VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: "VM Network"},
	}
	changes = append(changes, &types.VirtualDeviceConfigSpec{Operation: add, Device: nic})
	if w.tpm {
		tpm := &types.VirtualTPM{
			EndorsementKeyCertificateSigningRequest: [][]byte{pattern(w.name+"/csr", 300)},
			EndorsementKeyCertificate:               [][]byte{pattern(w.name+"/rsa", 800), pattern(w.name+"/ecc", 500)},
		}
		tpm.Key = -400
		changes = append(changes, &types.VirtualDeviceConfigSpec{Operation: add, Device: tpm})
	}
	return changes
}

// fill writes a disk's first content: a start, a middle and its last 64 KiB; the rest are holes.
func (s *sim) fill(name string, disk *types.VirtualDisk) error {
	file, err := os.OpenFile(s.local(flat(disk).FileName), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	size := capacity(disk)
	for _, part := range [][2]int64{{0, 1 << 20}, {size / 8, 2 << 20}, {size - blockBytes, blockBytes}} {
		if part[0] < 0 || part[0]+part[1] > size {
			continue
		}
		content := pattern(fmt.Sprintf("%s/%s/%d/%d", s.options.seed, name, disk.Key, part[0]), part[1])
		if _, err := file.WriteAt(content, part[0]); err != nil {
			return err
		}
	}
	return nil
}

func nth(list []string, n int) string {
	if n < len(list) {
		return list[n]
	}
	return ""
}
