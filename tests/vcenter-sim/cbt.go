package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// Changed block tracking. A track knows for each 64 KiB block in which epochs it was written; a snapshot ends an epoch
// and its changeId names it: UUID/sequence.

const blockBytes = 64 << 10

// answerBytesMax bounds the area of one answer, as on the real one: clients must go on from where it ended.
const answerBytesMax = 256 << 20

type track struct {
	uuid  string
	epoch int
	// Block number to the epochs in which it was written, ascending.
	written map[int64][]int
}

// ctkMode makes tracking answer wrongly.
type ctkMode struct {
	name  string
	split int64
}

func (s *sim) newTrack() *track {
	b := s.derived(s.mint("track"))
	text := ""
	for i := 0; i < 16; i++ {
		separator := " "
		if i == 0 {
			separator = ""
		} else if i == 8 {
			separator = "-"
		}
		text += fmt.Sprintf("%s%02x", separator, b[i])
	}
	return &track{uuid: text, written: map[int64][]int{}}
}

func (t *track) note(start, length int64) {
	if length <= 0 {
		return
	}
	for block := start / blockBytes; block <= (start+length-1)/blockBytes; block++ {
		epochs := t.written[block]
		if n := len(epochs); n == 0 || epochs[n-1] != t.epoch+1 {
			t.written[block] = append(epochs, t.epoch+1)
		}
	}
}

// changed tells whether a block was written after a base up to a snapshot.
func (t *track) changed(block int64, base, snapshot int) bool {
	for _, epoch := range t.written[block] {
		if epoch > base && epoch <= snapshot {
			return true
		}
	}
	return false
}

func splitChangeID(text string) (string, int, bool) {
	at := strings.LastIndex(text, "/")
	if at < 0 {
		return "", 0, false
	}
	sequence, err := strconv.Atoi(text[at+1:])
	return text[:at], sequence, err == nil
}

func (s *sim) queryChangedDiskAreas(c *call) *reply {
	request := c.body.(*types.QueryChangedDiskAreas)
	vm := vmOf(request.This)
	if vm == nil {
		return fault(&types.ManagedObjectNotFound{Obj: request.This})
	}
	m := s.machine(vm)
	config := vm.Config
	if request.Snapshot != nil {
		snapshot := snapshotOf(*request.Snapshot)
		if snapshot == nil {
			return fault(&types.ManagedObjectNotFound{Obj: *request.Snapshot})
		}
		config = &snapshot.Config
	}
	disk := diskOf(config, request.DeviceKey)
	if disk == nil {
		return fault(&types.InvalidArgument{InvalidProperty: "deviceKey"})
	}
	size := capacity(disk)
	if request.StartOffset < 0 || request.StartOffset >= size {
		return fault(&types.InvalidArgument{InvalidProperty: "startOffset"})
	}
	backing := flat(disk)
	broken := fault(said(&types.FileFault{File: backing.FileName}, "msg.cbt.file", "Error caused by file "+backing.FileName))
	t := m.tracks[request.DeviceKey]
	if t == nil || backing.ChangeId == "" || m.ctk.name == "fault" {
		return broken
	}
	_, until, ok := splitChangeID(backing.ChangeId)
	if !ok {
		return broken
	}

	answer := types.DiskChangeInfo{StartOffset: request.StartOffset, Length: size - request.StartOffset}
	most := int64(answerBytesMax)
	if m.ctk.split > 0 {
		most = m.ctk.split
	}
	if answer.Length > most {
		answer.Length = most
	}
	var wanted func(block int64) bool
	if request.ChangeId == "*" {
		allocated, err := allocatedBlocks(s.local(backing.FileName))
		if err != nil {
			return broken
		}
		wanted = func(block int64) bool { return allocated[block] }
	} else {
		uuid, since, ok := splitChangeID(request.ChangeId)
		if !ok {
			return fault(&types.InvalidArgument{InvalidProperty: "changeId"})
		}
		if uuid != t.uuid {
			return broken
		}
		if since > until {
			return fault(&types.InvalidArgument{InvalidProperty: "changeId"})
		}
		wanted = func(block int64) bool { return t.changed(block, since, until) }
	}
	answer.ChangedArea = areas(answer.StartOffset, answer.Length, wanted)
	m.ctk.spoil(&answer, size)
	return &reply{response: &types.QueryChangedDiskAreasResponse{Returnval: answer}}
}

// areas joins wanted blocks of a window into extents.
func areas(start, length int64, wanted func(int64) bool) []types.DiskChangeExtent {
	var list []types.DiskChangeExtent
	for at := start; at < start+length; {
		block := at / blockBytes
		end := (block + 1) * blockBytes
		if end > start+length {
			end = start + length
		}
		if wanted(block) {
			if n := len(list); n > 0 && list[n-1].Start+list[n-1].Length == at {
				list[n-1].Length += end - at
			} else {
				list = append(list, types.DiskChangeExtent{Start: at, Length: end - at})
			}
		}
		at = end
	}
	return list
}

func allocatedBlocks(name string) (map[int64]bool, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	ranges, err := dataRanges(file)
	if err != nil {
		return nil, err
	}
	blocks := map[int64]bool{}
	for _, r := range ranges {
		for block := r[0] / blockBytes; block <= (r[1]-1)/blockBytes; block++ {
			blocks[block] = true
		}
	}
	return blocks, nil
}

// ctkModes is the list for the control call.
var ctkModes = []string{"", "fault", "startoffset", "nolength", "short", "beyond", "unsorted", "overlap", "outside", "omit", "backwards", "nochangeid"}

// spoil makes an answer wrong. "omit" is the lie that no rule on answers can find; "short" is no lie if the client goes on.
func (mode ctkMode) spoil(answer *types.DiskChangeInfo, size int64) {
	end := answer.StartOffset + answer.Length
	list := answer.ChangedArea
	switch mode.name {
	case "startoffset":
		answer.StartOffset += blockBytes
	case "nolength":
		answer.Length = 0
	case "short":
		answer.Length = (answer.Length + 1) / 2
		answer.ChangedArea = nil
		for _, area := range list {
			if over := area.Start + area.Length - (answer.StartOffset + answer.Length); over > 0 {
				area.Length -= over
			}
			if area.Length > 0 {
				answer.ChangedArea = append(answer.ChangedArea, area)
			}
		}
	case "beyond":
		answer.Length = size - answer.StartOffset + blockBytes
	case "unsorted":
		answer.ChangedArea = append([]types.DiskChangeExtent{{Start: end - blockBytes, Length: blockBytes}}, list...)
		if len(list) == 0 {
			answer.ChangedArea = append(answer.ChangedArea, types.DiskChangeExtent{Start: answer.StartOffset, Length: blockBytes})
		}
	case "overlap":
		if len(list) == 0 {
			list = []types.DiskChangeExtent{{Start: answer.StartOffset, Length: blockBytes}}
		}
		answer.ChangedArea = append([]types.DiskChangeExtent{list[0]}, list...)
	case "outside":
		answer.ChangedArea = append(list, types.DiskChangeExtent{Start: end, Length: blockBytes})
	case "omit":
		answer.ChangedArea = nil
	}
}
