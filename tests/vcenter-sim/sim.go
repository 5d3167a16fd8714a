package main

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/vpx"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	pbmsim "github.com/vmware/govmomi/pbm/simulator"
)

// sim is what govmomi's simulator does not keep.
//
// Invariant: everything below mu is touched by one request at a time; the stock simulator is called with it held.
type sim struct {
	options options
	service *simulator.Service
	client  *vim25.Client
	stock   http.Handler
	methods map[string]method

	// Has a lock of its own: whoever waits must not stop the others.
	holds holds

	mu       sync.Mutex
	place    place
	sessions sessions
	machines map[string]*machine
	kms      kms
	policies []*policy
	denied   []denial
	faults   faults
	calls    []string
	plans    []*scheduled
	door     door
	minted   int
}

// machine is what a VM has beyond its managed object. Its data key is not here: only the bundle has it.
type machine struct {
	// What the last power-on found: "", original, generic, locked.
	nvram        string
	nvramContent string
	homePolicy   string
	diskPolicies map[int32]string
	tracks       map[int32]*track
	ctk          ctkMode
	hidden       []string
	// Snapshot to the file of its state.
	stateFiles map[string]string
	// A disk file below a snapshot to when it was last written.
	frozenAt map[string]time.Time
}

// place is the inventory that VMs are made in.
type place struct {
	datacenter types.ManagedObjectReference
	vmFolder   types.ManagedObjectReference
	pool       types.ManagedObjectReference
	hosts      []types.ManagedObjectReference
	datastores map[string]string
}

func newSim(o options) (*sim, error) {
	instance := simulator.NewServiceInstance(vpx.ServiceContent, vpx.RootFolder)
	instance.Content.About.InstanceUuid = o.instanceUUID
	instance.Content.About.ApiVersion = o.apiVersion
	instance.Content.About.Version = strings.Join(strings.Split(o.apiVersion+".0.0", ".")[:3], ".")
	service := simulator.New(instance)
	service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(o.user, o.password)}
	service.RegisterSDK(pbmsim.New())
	// Its own server is only made because that fills ServeMux; ours stand before it.
	service.NewServer().Close()

	s := &sim{
		options:  o,
		service:  service,
		stock:    service.ServeMux,
		machines: map[string]*machine{},
		sessions: sessions{live: map[string]*session{}},
		faults:   faults{},
	}
	s.methods = s.overrides()
	s.kms = s.usualProviders()
	s.policies = usualPolicies()
	client, err := vim25.NewClient(background, service)
	if err != nil {
		return nil, err
	}
	s.client = client
	s.listPrivileges()
	if err := s.buildInventory(); err != nil {
		return nil, err
	}
	if o.scenario == "usual" {
		if err := s.usualMachines(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// derived gives 32 bytes that follow from the seed and a name: the same simulator again has the same keys.
func (s *sim) derived(name string) []byte {
	sum := sha256.Sum256([]byte(s.options.seed + "\x00" + name))
	return sum[:]
}

// derivedUUID gives 52e1… style UUIDs that follow from the seed.
func (s *sim) derivedUUID(name string) string {
	b := s.derived(name)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// mint gives a name that was never given before.
func (s *sim) mint(kind string) string {
	s.minted++
	return fmt.Sprintf("%s/%d", kind, s.minted)
}
