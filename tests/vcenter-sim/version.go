package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// unsupported refuses what a vCenter of this version does not know: a newer version in SOAPAction, newer methods.
func (s *sim) unsupported(c *call) *soap.Fault {
	action := strings.Trim(c.request.Header.Get("SOAPAction"), `"`)
	if asked := strings.TrimPrefix(action, "urn:vim25/"); asked != action && newer(asked, s.options.apiVersion) {
		return simulator.Fault(fmt.Sprintf("Unsupported version URI %q", action), &types.InvalidRequest{})
	}
	switch c.name {
	case "IsKmsClusterActive", "QueryCryptoKeyStatus":
		if newer("7.0", s.options.apiVersion) {
			return simulator.Fault("", &types.MethodNotFound{Receiver: c.this, Method: c.name})
		}
	}
	return nil
}

// newer compares dotted numbers.
func newer(a, b string) bool {
	left, right := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; i < len(left) || i < len(right); i++ {
		x, _ := strconv.Atoi(nth(left, i))
		y, _ := strconv.Atoi(nth(right, i))
		if x != y {
			return x > y
		}
	}
	return false
}
