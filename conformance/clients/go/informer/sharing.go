package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"

	"clients/kit"
)

func (w *World) sharing() []kit.Claim {
	return []kit.Claim{
		{Name: "one leads at a time, and another follows when it lets go", Check: w.election},
		{Name: "a recorder's repeated event is one event with a count", Check: w.counted},
		{Name: "a recorder of the newer kind begins a series", Check: w.series},
	}
}

func (w *World) election(ctx context.Context) {
	var mutex sync.Mutex
	leading, history := 0, []string{}
	run := func(name string) context.CancelFunc {
		lock := &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Name: "leader", Namespace: ns}, Client: w.client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: name},
		}
		elector := kit.Got(leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: lock, LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 200 * time.Millisecond, ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) {
					mutex.Lock()
					defer mutex.Unlock()
					leading++
					history = append(history, fmt.Sprintf("%s of %d", name, leading))
				},
				OnStoppedLeading: func() {
					mutex.Lock()
					defer mutex.Unlock()
					leading--
				},
			},
		}))
		ctx, cancel := context.WithCancel(ctx)
		go elector.Run(ctx)
		return cancel
	}
	seen := func() []string {
		mutex.Lock()
		defer mutex.Unlock()
		return append([]string(nil), history...)
	}
	first := run("a")
	kit.Wait(ctx, "a leads", func() bool { return len(seen()) == 1 })
	second := run("b")
	defer second()
	time.Sleep(4 * time.Second)
	kit.Equal("leaders while a renews", seen(), []string{"a of 1"})
	first()
	kit.Wait(ctx, "b leads", func() bool { return len(seen()) == 2 })
	lease := kit.Got(w.client.CoordinationV1().Leases(ns).Get(ctx, "leader", metav1.GetOptions{}))
	kit.Equal("holder", *lease.Spec.HolderIdentity, "b")
	kit.Equal("transitions", *lease.Spec.LeaseTransitions >= 1, true)
}

func (w *World) about(ctx context.Context) *corev1.ConfigMap {
	w.create(ctx, "events", "told-"+fmt.Sprint(w.wire.Count()), "1")
	found := kit.Got(w.maps().List(ctx, metav1.ListOptions{LabelSelector: "group=events"}))
	return &found.Items[len(found.Items)-1]
}

func (w *World) counted(ctx context.Context) {
	about := w.about(ctx)
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcore.EventSinkImpl{Interface: w.client.CoreV1().Events(ns)})
	defer broadcaster.Shutdown()
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "informer"})
	for n := range 3 {
		recorder.Eventf(about, corev1.EventTypeNormal, "Looked", "looked at %s", about.Name)
		kit.Eventually(ctx, func() error {
			found := kit.Got(w.client.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(about.UID)}))
			if len(found.Items) != 1 || found.Items[0].Count != int32(n+1) {
				return fmt.Errorf("%d events, wanted one counted %d", len(found.Items), n+1)
			}
			return nil
		})
	}
}

func (w *World) series(ctx context.Context) {
	about := w.about(ctx)
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: w.client.EventsV1()})
	kit.Must(broadcaster.StartRecordingToSinkWithContext(ctx))
	defer broadcaster.Shutdown()
	recorder := broadcaster.NewRecorder(scheme.Scheme, "conformance.example/informer")
	for n := range 2 {
		recorder.Eventf(about, nil, corev1.EventTypeNormal, "Seen", "Look", "looked at %s", about.Name)
		kit.Eventually(ctx, func() error {
			found := kit.Got(w.client.EventsV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "reason=Seen"}))
			if len(found.Items) != 1 {
				return fmt.Errorf("%d events", len(found.Items))
			}
			if isSeries := found.Items[0].Series != nil; isSeries != (n > 0) {
				return fmt.Errorf("series after %d events: %v", n+1, isSeries)
			}
			return nil
		})
	}
	found := kit.Got(w.client.EventsV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "reason=Seen"})).Items[0]
	kit.Equal("what was seen", []any{found.Action, found.ReportingController, found.Regarding.Name}, []any{"Look", "conformance.example/informer", about.Name})
	old := kit.Got(w.client.CoreV1().Events(ns).Get(ctx, found.Name, metav1.GetOptions{}))
	kit.Equal("the same event in the older kind", old.Message, found.Note)
}
