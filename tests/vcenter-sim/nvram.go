package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Real sealing, so that a test that boots has proved something: the NVRAM file is sealed under a data key, the bundle is
// that data key sealed under the KMS key, and nothing else has it.

func sealed(key, content []byte, nonce []byte) []byte {
	return append(append([]byte{}, nonce[:12]...), gcm(key).Seal(nil, nonce[:12], content, nil)...)
}

func unsealed(key, bytes []byte) ([]byte, bool) {
	if len(bytes) < 12 {
		return nil, false
	}
	content, err := gcm(key).Open(nil, bytes[:12], bytes[12:], nil)
	return content, err == nil
}

func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

const (
	locator     = "vmware:key/list/(pair/(fqid/<VMWARE-NULL>/"
	nvramMagic  = "NVRAM sealed\n"
	nvramHeader = "NVRAM "
)

// bundle seals a data key under a KMS key. It names provider and key, as VMware's key locators do.
func (s *sim) bundle(id *types.CryptoKeyId, key *kmsKey, dataKey []byte) string {
	text := base64.StdEncoding.EncodeToString(sealed(key.material, dataKey, s.derived(s.mint("nonce"))))
	return base64.StdEncoding.EncodeToString([]byte(locator + keyText(id) + ",AES-256-GCM," + text + "))"))
}

// openBundle gives the data key, if the KMS key can be had and is the one the bundle was sealed under.
func (s *sim) openBundle(id *types.CryptoKeyId, bundle string) ([]byte, bool) {
	key, reason := s.keyState(id)
	if reason != "" {
		return nil, false
	}
	text, err := base64.StdEncoding.DecodeString(bundle)
	if err != nil || !bytes.HasPrefix(text, []byte(locator)) {
		return nil, false
	}
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(string(text), locator), "))"), ",")
	if len(parts) != 3 || (parts[0] != keyText(id) && !s.kms.lenientBundle) {
		return nil, false
	}
	box, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		return nil, false
	}
	return unsealed(key.material, box)
}

// nvramContent is what the firmware keeps: kind "original" for what a guest has used, "generic" for what vSphere makes.
func nvramContent(kind, id string) []byte {
	head := fmt.Sprintf("%s%s %s\n", nvramHeader, kind, id)
	return append([]byte(head), pattern(head, 8192)...)
}

func readNVRAM(content []byte) (kind, id string, ok bool) {
	line := strings.SplitN(string(content), "\n", 2)[0]
	words := strings.Fields(strings.TrimPrefix(line, nvramHeader))
	if !strings.HasPrefix(line, nvramHeader) || len(words) != 2 {
		return "", "", false
	}
	return words[0], words[1], true
}

// writeNVRAM writes the file of a VM, sealed if there is a data key.
func (s *sim) writeNVRAM(vm *simulator.VirtualMachine, dataKey, content []byte) error {
	if dataKey != nil {
		content = append([]byte(nvramMagic), sealed(dataKey, content, s.derived(s.mint("nonce")))...)
	}
	return os.WriteFile(s.local(nvramOf(vm)), content, 0o600)
}

// bootNVRAM reads the file of a VM as its firmware does. What cannot be read is replaced by a generic one.
func (s *sim) bootNVRAM(vm *simulator.VirtualMachine, dataKey []byte) error {
	m := s.machine(vm)
	bytes, err := os.ReadFile(s.local(nvramOf(vm)))
	if err == nil {
		content, ok := bytes, true
		if dataKey != nil {
			ok = strings.HasPrefix(string(bytes), nvramMagic)
			if ok {
				content, ok = unsealed(dataKey, bytes[len(nvramMagic):])
			}
		}
		if ok {
			if m.nvram, m.nvramContent, ok = readNVRAM(content); ok {
				return nil
			}
		}
	}
	m.nvram, m.nvramContent = "generic", s.derivedUUID(s.mint("nvram"))
	return s.writeNVRAM(vm, dataKey, nvramContent(m.nvram, m.nvramContent))
}
