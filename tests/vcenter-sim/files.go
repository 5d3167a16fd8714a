package main

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// A disk is a raw sparse file under exactly its vmdk path: the library that reads it in tests needs no descriptor.

// local gives the file behind "[datastore] dir/file".
func (s *sim) local(name string) string {
	var p object.DatastorePath
	p.FromString(name)
	return filepath.Join(s.place.datastores[p.Datastore], filepath.FromSlash(path.Clean("/"+p.Path)))
}

// directoryOf is a VM's home as "[datastore] dir".
func directoryOf(vm *simulator.VirtualMachine) string { return path.Dir(vm.Config.Files.VmPathName) }

// nvramOf is where a VM's NVRAM is, whether there is a file or not.
func nvramOf(vm *simulator.VirtualMachine) string {
	return strings.TrimSuffix(vm.Config.Files.VmPathName, ".vmx") + ".nvram"
}

const (
	seekData = 3
	seekHole = 4
)

// dataRanges lists the ranges of a file that have storage.
func dataRanges(file *os.File) ([][2]int64, error) {
	var ranges [][2]int64
	at := int64(0)
	for {
		start, err := file.Seek(at, seekData)
		if errors.Is(err, syscall.ENXIO) {
			return ranges, nil
		}
		if err != nil {
			return nil, err
		}
		end, err := file.Seek(start, seekHole)
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, [2]int64{start, end})
		at = end
	}
}

// sparseCopy copies a file and keeps its holes.
func sparseCopy(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	target, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer target.Close()
	if err := target.Truncate(info.Size()); err != nil {
		return err
	}
	ranges, err := dataRanges(source)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		if _, err := target.Seek(r[0], io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(target, io.NewSectionReader(source, r[0], r[1]-r[0])); err != nil {
			return err
		}
	}
	return nil
}

// newDisk makes a sparse file of a capacity.
func newDisk(name string, bytes int64) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Truncate(bytes)
}

// pattern fills bytes that follow from a name: not compressible, the same each time.
func pattern(name string, bytes int64) []byte {
	out := make([]byte, 0, bytes+32)
	seed := sha256.Sum256([]byte(name))
	var counter [8]byte
	for n := uint64(0); int64(len(out)) < bytes; n++ {
		binary.LittleEndian.PutUint64(counter[:], n)
		block := sha256.Sum256(append(seed[:], counter[:]...))
		out = append(out, block[:]...)
	}
	return out[:bytes]
}

// relist writes layoutEx as the folder is. The stock simulator names files there without their directory.
func (s *sim) relist(vm *simulator.VirtualMachine) {
	directory := directoryOf(vm)
	entries, err := os.ReadDir(s.local(directory))
	if err != nil {
		return
	}
	layout := &types.VirtualMachineFileLayoutEx{Timestamp: time.Now()}
	keys := map[string]int32{}
	for i, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			continue
		}
		name := directory + "/" + entry.Name()
		keys[name] = int32(i)
		layout.File = append(layout.File, types.VirtualMachineFileLayoutExFileInfo{
			Key: int32(i), Name: name, Type: fileType(entry.Name()), Size: info.Size(), UniqueSize: info.Size(), Accessible: types.NewBool(true),
		})
	}
	chain := func(disk *types.VirtualDisk) types.VirtualMachineFileLayoutExDiskLayout {
		one := types.VirtualMachineFileLayoutExDiskLayout{Key: disk.Key}
		for backing := flat(disk); backing != nil; backing = backing.Parent {
			if key, ok := keys[backing.FileName]; ok {
				one.Chain = append([]types.VirtualMachineFileLayoutExDiskUnit{{FileKey: []int32{key}}}, one.Chain...)
			}
		}
		return one
	}
	for _, disk := range disksOf(vm.Config) {
		layout.Disk = append(layout.Disk, chain(disk))
	}
	for _, item := range snapshotsOf(vm) {
		if snapshot := snapshotOf(item.Snapshot); snapshot != nil {
			one := types.VirtualMachineFileLayoutExSnapshotLayout{Key: item.Snapshot, DataKey: -1, MemoryKey: -1}
			for _, disk := range disksOf(&snapshot.Config) {
				one.Disk = append(one.Disk, chain(disk))
			}
			layout.Snapshot = append(layout.Snapshot, one)
		}
	}
	vm.LayoutEx = layout
}

func fileType(name string) string {
	switch path.Ext(name) {
	case ".vmx":
		return "config"
	case ".nvram":
		return "nvram"
	case ".vmdk":
		return "diskDescriptor"
	case ".vmsn":
		return "snapshotData"
	case ".vmsd":
		return "snapshotList"
	case ".log":
		return "log"
	}
	return "uwswap"
}
