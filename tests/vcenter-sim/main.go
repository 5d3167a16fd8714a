// A vCenter for tests: govmomi's simulator, and in front of it what backup and recovery of encrypted VMs need and it lacks.
//
// It listens on two ports of the loopback interface, one with TLS, one without (for traces and for /ctl/), prints one
// line of JSON that says where, and ends when its standard input is closed: no simulator outlives its test.
// Two vCenters are two processes, because simulator.Map is global.
package main

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

type options struct {
	root         string
	user         string
	password     string
	instanceUUID string
	apiVersion   string
	scenario     string
	seed         string
	diskMiB      int64
	idle         time.Duration
	verbose      bool
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", "", "folder below which each datastore has a folder of its own (must exist)")
	flag.StringVar(&o.user, "user", "svc-backup@vsphere.local", "the only user")
	flag.StringVar(&o.password, "password", "Sim-Pa55word", "its password")
	flag.StringVar(&o.instanceUUID, "instance-uuid", "0a1b2c3d-1111-4222-8333-444455556666", "about.instanceUuid")
	flag.StringVar(&o.apiVersion, "api-version", "8.0.2.0", "about.apiVersion")
	flag.StringVar(&o.scenario, "scenario", "usual", "VMs at the start: usual, or none")
	flag.StringVar(&o.seed, "seed", "vc1", "disk contents, keys and UUIDs follow from it")
	flag.Int64Var(&o.diskMiB, "disk-mib", 64, "capacity of the disks of the usual VMs")
	flag.DurationVar(&o.idle, "idle", 30*time.Minute, "a session ends after so much idle time")
	flag.BoolVar(&o.verbose, "verbose", false, "what the simulator logs goes to standard error")
	flag.Parse()
	if !o.verbose {
		log.SetOutput(io.Discard)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "vcenter-sim:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if o.root == "" {
		return fmt.Errorf("--root is missing")
	}
	root, err := filepath.Abs(o.root)
	if err != nil {
		return err
	}
	o.root = root

	certificate, err := newCertificate()
	if err != nil {
		return err
	}
	s, err := newSim(o)
	if err != nil {
		return err
	}

	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	settings := &tls.Config{Certificates: []tls.Certificate{certificate}}
	open := func(listener net.Listener) *http.Server { return serve(tls.NewListener(listener, settings), s.front(false)) }
	s.door = door{address: secure.Addr().String(), open: open, server: open(secure)}
	serve(plain, s.front(true))

	leaf := certificate.Certificate[0]
	ready := map[string]interface{}{
		"url":           fmt.Sprintf("https://127.0.0.1:%d", port(secure)),
		"plain_url":     fmt.Sprintf("http://127.0.0.1:%d", port(plain)),
		"host":          "127.0.0.1",
		"port":          port(secure),
		"plain_port":    port(plain),
		"sha256":        colons(fmt.Sprintf("%X", sha256.Sum256(leaf))),
		"sha1":          colons(fmt.Sprintf("%X", sha1.Sum(leaf))),
		"user":          o.user,
		"password":      o.password,
		"root":          o.root,
		"datastores":    s.place.datastores,
		"instance_uuid": o.instanceUUID,
		"datacenter":    datacenterPath,
	}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func serve(listener net.Listener, handler http.Handler) *http.Server {
	server := &http.Server{Handler: handler, ErrorLog: log.New(log.Writer(), "", 0)}
	go func() { _ = server.Serve(listener) }()
	return server
}

func port(listener net.Listener) int { return listener.Addr().(*net.TCPAddr).Port }

// colons writes AABB as AA:BB, the way thumbprints are written.
func colons(hexadecimal string) string {
	var pairs []string
	for i := 0; i+2 <= len(hexadecimal); i += 2 {
		pairs = append(pairs, hexadecimal[i:i+2])
	}
	return strings.Join(pairs, ":")
}
