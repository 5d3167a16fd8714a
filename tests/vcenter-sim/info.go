package main

import (
	"net/url"
	"os"
	"sort"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

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
	tpm := ""
	if hasTPM(vm.Config) {
		tpm = map[string]string{"original": "kept", "generic": "lost"}[m.nvram]
	}
	return map[string]interface{}{
		"moref": vm.Self.Value, "name": vm.Name, "uuid": vm.Config.Uuid, "instance_uuid": vm.Config.InstanceUuid,
		"vmx": vm.Config.Files.VmPathName, "directory": directoryOf(vm), "local": s.local(directoryOf(vm)),
		"power": string(vm.Runtime.PowerState), "template": vm.Config.Template, "firmware": vm.Config.Firmware,
		"secure_boot": vm.Config.BootOptions != nil && vm.Config.BootOptions.EfiSecureBootEnabled != nil && *vm.Config.BootOptions.EfiSecureBootEnabled,
		"key_id":      keyText(vm.Config.KeyId), "bundle": extra(vm.Config, "encryption.bundle"), "policy": m.homePolicy, "tpm": hasTPM(vm.Config), "tpm_content": tpm,
		"change_tracking": vm.Config.ChangeTrackingEnabled != nil && *vm.Config.ChangeTrackingEnabled,
		"nvram":           m.nvram, "nvram_content": m.nvramContent, "nvram_file": nvramOf(vm), "nvram_local": nvram, "nvram_exists": exists(nvram),
		"disks": s.disksInfo(m, vm.Config), "snapshots": snapshots,
	}, nil
}

// state is what a cleanup has to leave as it was: VMs, their snapshots, files and flags, and what else lies in the datastores.
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
	folders := map[string][]string{}
	for name, root := range s.place.datastores {
		folders[name] = []string{}
		entries, _ := os.ReadDir(root)
		for _, entry := range entries {
			folders[name] = append(folders[name], entry.Name())
		}
	}
	return map[string]interface{}{"vms": vms, "folders": folders}
}
