// csi-driver is a CSI driver for tests: a volume is a directory, and a snapshot is a copy of it.
//
//	FOLDER/volumes/HANDLE/     content of a volume, which a test may read and write
//	FOLDER/snapshots/HANDLE/   content of a snapshot
//	FOLDER/groups/HANDLE/      nothing: stands for snapshots that were taken together
//	FOLDER/records/HANDLE.json what is known of each
//	FOLDER/faults/CALL         while this file exists, that call fails with its text; CALL is CreateVolume, DeleteVolume,
//	                           CreateSnapshot, DeleteSnapshot, ListSnapshots, CreateVolumeGroupSnapshot, NodePublishVolume …
//	FOLDER/faults/NotReady     while this file exists, no snapshot is ready to use
//
// With --registration, a kubelet mounts the directories into pods. Sizes are recorded and compared, and not enforced.
package main

import (
	"errors"
	"flag"
	"io/fs"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
)

func main() {
	name := flag.String("name", "", "the driver's name, as StorageClasses and VolumeSnapshotClasses give it")
	socket := flag.String("socket", "", "where to listen; at most 107 bytes")
	folder := flag.String("folder", "", "where volumes, snapshots and faults lie")
	at := flag.String("registration", "", "where a kubelet looks for the socket that names the driver; without, nothing is mounted")
	flag.Parse()
	if *name == "" || *socket == "" || *folder == "" {
		log.Fatal("--name, --socket and --folder are needed")
	}
	if err := serve(*name, *socket, *folder, *at); err != nil {
		log.Fatal(err)
	}
}

func serve(name, socket, folder, registration string) error {
	disk, err := openDisk(folder)
	if err != nil {
		return err
	}
	listener, err := listen(socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(faults{disk}.intercept))
	csi.RegisterIdentityServer(server, identity{name: name})
	csi.RegisterControllerServer(server, controller{disk: disk})
	csi.RegisterGroupControllerServer(server, groupController{controller: controller{disk: disk}})
	if registration != "" {
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		csi.RegisterNodeServer(server, node{disk: disk, name: host})
		if err := register(name, socket, registration); err != nil {
			return err
		}
	}

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		server.GracefulStop()
	}()
	return server.Serve(listener)
}

func listen(socket string) (net.Listener, error) {
	// Left by a driver that was killed.
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", socket)
}
