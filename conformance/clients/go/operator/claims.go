package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clients/kit"
	"clients/operator/api"
)

func (w *World) claims() []kit.Claim {
	return []kit.Claim{
		{Name: "a definition with a webhook between its versions is established", Check: w.established},
		{Name: "webhooks are called as soon as they are configured", Check: w.called},
		{Name: "the mutating webhook comes before the rules of the definition", Check: w.mutated},
		{Name: "rules, transitions and the validating webhook refuse with their own words", Check: w.refused},
		{Name: "a webhook warns", Check: w.warns},
		{Name: "conditions of CEL keep a webhook out", Check: w.matched},
		{Name: "a webhook that nobody answers fails the request or is passed over, as its policy says", Check: w.unanswered},
		{Name: "a dry run asks the webhooks and stores nothing", Check: w.dry},
		{Name: "the reconciler makes what a harbour owns, and tells its state", Check: w.built},
		{Name: "what others change in owned objects is put right", Check: w.right},
		{Name: "a change of the spec goes through", Check: w.changed},
		{Name: "both versions are served, each made of the other, and nothing is lost", Check: w.converted},
		{Name: "the status has a door of its own, and scale another", Check: w.doors},
		{Name: "a deletion may be refused by the webhook", Check: w.kept},
		{Name: "a finalizer is waited for, and what was owned goes with its owner", Check: w.gone},
		{Name: "the older version is converted in lists and watches", Check: w.listed},
	}
}

func harbour(name string, spec api.Spec) *api.Harbour {
	return &api.Harbour{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}, Spec: spec}
}

func key(name string) client.ObjectKey { return client.ObjectKey{Namespace: ns, Name: name} }

func (w *World) get(ctx context.Context, name string) *api.Harbour {
	found := &api.Harbour{}
	kit.Must(w.Get(ctx, key(name), found))
	return found
}

func (w *World) established(ctx context.Context) {
	kit.Must(w.Create(ctx, definition(w.url, w.bundle)))
	kit.Wait(ctx, "the definition is established", func() bool {
		found := &apiextensionsv1.CustomResourceDefinition{}
		kit.Must(w.Get(ctx, client.ObjectKey{Name: definitionName}, found))
		return slices.ContainsFunc(found.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
			return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
		})
	})
	w.run()
}

func (w *World) called(ctx context.Context) {
	for _, hook := range hooks(w.url, w.bundle) {
		kit.Must(w.Create(ctx, hook))
	}
	kit.Eventually(ctx, func() error {
		probe := harbour("probe", api.Spec{Berths: 1, Motto: "storm"})
		err := w.Create(ctx, probe, client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), "no storms in harbours") {
			return fmt.Errorf("the validating webhook is not called: %v", err)
		}
		probe = harbour("probe", api.Spec{Berths: 1})
		if err := w.Create(ctx, probe, client.DryRunAll); err != nil || probe.Spec.Motto == "" {
			return fmt.Errorf("the mutating webhook is not called: %v %v", probe.Spec, err)
		}
		return nil
	})
}

func (w *World) mutated(ctx context.Context) {
	made := harbour("north", api.Spec{Berths: 2, Quay: "east"})
	kit.Must(w.Create(ctx, made))
	kit.Contains(made.Spec.Motto, "safe, said ")
	// Owners are noted before webhooks are asked: what they set is nobody's.
	kit.Equal("fields of the manager", made.ManagedFields[0].FieldsV1.GetRawString(), `{"f:spec":{".":{},"f:berths":{},"f:quay":{}}}`)
}

func (w *World) refused(ctx context.Context) {
	err := w.Create(ctx, harbour("wide", api.Spec{Berths: 11}))
	kit.Refused(err, apierrors.IsInvalid, "a harbour has at most ten berths", "spec: Invalid value")
	err = w.Create(ctx, harbour("wild", api.Spec{Berths: 1, Motto: "storm"}))
	kit.Refused(err, apierrors.IsForbidden, `admission webhook "validate.`+api.Group+`" denied the request: no storms in harbours`)
	err = w.Create(ctx, harbour("less", api.Spec{Berths: -1}))
	kit.Refused(err, apierrors.IsInvalid, "spec.berths", "should be greater than or equal to 0")
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"quay":"west"}}`))
	kit.Refused(w.Patch(ctx, harbour("north", api.Spec{}), patch), apierrors.IsInvalid, "a quay stays where it is")
	patch = client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"motto":"storm"}}`))
	kit.Refused(w.Patch(ctx, harbour("north", api.Spec{}), patch), apierrors.IsForbidden, "no storms in harbours")
}

func (w *World) warns(ctx context.Context) {
	w.warned.Take()
	kit.Must(w.Create(ctx, harbour("foggy", api.Spec{Motto: "fog"}), client.DryRunAll))
	kit.Equal("warnings", w.warned.Take(), []string{"299 fog is expected"})
}

func (w *World) matched(ctx context.Context) {
	plain := harbour("plain", api.Spec{Berths: 4})
	plain.Labels = map[string]string{"plain": "yes"}
	kit.Refused(w.Create(ctx, plain), apierrors.IsInvalid, "a large harbour needs a motto")
}

func (w *World) unanswered(ctx context.Context) {
	lost := func() error {
		probe := harbour("lost", api.Spec{Berths: 1})
		probe.Labels = map[string]string{"ask": "away"}
		return w.Create(ctx, probe, client.DryRunAll)
	}
	kit.Must(w.Create(ctx, away("Fail")))
	kit.Eventually(ctx, func() error {
		if err := lost(); err == nil || !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), `failed calling webhook "away.`+api.Group+`"`) {
			return fmt.Errorf("not refused as it should be: %v", err)
		}
		return nil
	})
	found := away("Ignore")
	kit.Must(w.Get(ctx, client.ObjectKeyFromObject(found), found))
	found.Webhooks[0].FailurePolicy = ptr.To(admissionv1.Ignore)
	kit.Must(w.Update(ctx, found))
	kit.Eventually(ctx, lost)
	kit.Must(w.Delete(ctx, found))
}

func (w *World) dry(ctx context.Context) {
	made := harbour("dry", api.Spec{Berths: 1})
	kit.Must(w.Create(ctx, made, client.DryRunAll))
	kit.Contains(made.Spec.Motto, "safe, said ")
	kit.Refused(w.Get(ctx, key("dry"), made), apierrors.IsNotFound, `harbours.`+api.Group+` "dry" not found`)
}

// settled waits until the harbour's condition says that it is built.
func (w *World) settled(ctx context.Context, name string, berths int32) *api.Harbour {
	var found *api.Harbour
	kit.Eventually(ctx, func() error {
		found = w.get(ctx, name)
		condition := meta.FindStatusCondition(found.Status.Conditions, available)
		if condition == nil || condition.Status != metav1.ConditionTrue || condition.ObservedGeneration != found.Generation || found.Status.Ready != berths {
			return fmt.Errorf("%s: %+v", name, found.Status)
		}
		return nil
	})
	return found
}

func (w *World) built(ctx context.Context) {
	found := w.settled(ctx, "north", 2)
	kit.Equal("finalizers", found.Finalizers, []string{finalizer})
	kit.Equal("observed", found.Status.ObservedGeneration, found.Generation)
	deployment, settings := &appsv1.Deployment{}, &corev1.ConfigMap{}
	kit.Must(w.Get(ctx, key("north"), deployment))
	kit.Must(w.Get(ctx, key("north"), settings))
	for _, owned := range []client.Object{deployment, settings} {
		if !metav1.IsControlledBy(owned, found) {
			kit.Fail("owners of %T: %+v", owned, owned.GetOwnerReferences())
		}
	}
	kit.Equal("motto", settings.Data["motto"], found.Spec.Motto)
	kit.Eventually(ctx, func() error {
		told := &eventsv1.EventList{}
		kit.Must(w.List(ctx, told, client.InNamespace(ns)))
		for _, event := range told.Items {
			if event.Reason == "Built" && event.Regarding.UID == found.UID {
				return nil
			}
		}
		return fmt.Errorf("no event among %d", len(told.Items))
	})
}

func (w *World) right(ctx context.Context) {
	deployment := &appsv1.Deployment{}
	kit.Must(w.Get(ctx, key("north"), deployment))
	kit.Must(w.Patch(ctx, deployment, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":5}}`))))
	settings := &corev1.ConfigMap{}
	kit.Must(w.Get(ctx, key("north"), settings))
	uid := settings.UID
	kit.Must(w.Delete(ctx, settings))
	kit.Eventually(ctx, func() error {
		kit.Must(w.Get(ctx, key("north"), deployment))
		if err := w.Get(ctx, key("north"), settings); err != nil {
			return err
		}
		if *deployment.Spec.Replicas != 2 || settings.UID == uid {
			return fmt.Errorf("replicas %d, settings %s", *deployment.Spec.Replicas, settings.UID)
		}
		return nil
	})
	w.settled(ctx, "north", 2)
}

func (w *World) changed(ctx context.Context) {
	found := w.settled(ctx, "north", 2)
	before := found.Generation
	found.Spec.Berths, found.Spec.Motto = 3, "calm"
	kit.Must(w.Update(ctx, found))
	kit.Equal("generation", found.Generation, before+1)
	w.settled(ctx, "north", 3)
	settings := &corev1.ConfigMap{}
	kit.Must(w.Get(ctx, key("north"), settings))
	kit.Equal("motto", settings.Data["motto"], "calm")
	same := w.get(ctx, "north")
	kit.Must(w.Update(ctx, same.DeepCopyObject().(*api.Harbour)))
	kit.Equal("version after an update of nothing", w.get(ctx, "north").ResourceVersion, same.ResourceVersion)
}

func (w *World) converted(ctx context.Context) {
	old := &api.OldHarbour{}
	kit.Must(w.Get(ctx, key("north"), old))
	kit.Equal("the older form", old.Spec, api.OldSpec{Size: 3, Motto: "calm"})
	old.Spec.Size = 2
	kit.Must(w.Update(ctx, old))
	kit.Equal("the newer form", w.settled(ctx, "north", 2).Spec, api.Spec{Berths: 2, Motto: "calm", Quay: "east"})
	made := &api.OldHarbour{ObjectMeta: metav1.ObjectMeta{Name: "south", Namespace: ns}, Spec: api.OldSpec{Size: 1}}
	kit.Must(w.Create(ctx, made))
	kit.Contains(made.Spec.Motto, "safe, said ")
	stormy := &api.OldHarbour{ObjectMeta: metav1.ObjectMeta{Name: "stormy", Namespace: ns}, Spec: api.OldSpec{Size: 1, Motto: "storm"}}
	kit.Refused(w.Create(ctx, stormy), apierrors.IsForbidden, "no storms in harbours")
	w.settled(ctx, "south", 1)
}

func (w *World) doors(ctx context.Context) {
	found := w.settled(ctx, "south", 1)
	found.Spec.Berths, found.Status.Conditions = 9, append(found.Status.Conditions, metav1.Condition{
		Type: "Watched", Status: metav1.ConditionTrue, Reason: "Lit", LastTransitionTime: metav1.Now(),
	})
	kit.Must(w.Status().Update(ctx, found))
	kit.Equal("berths after a write of the status", found.Spec.Berths, int32(1))
	found.Status = api.Status{}
	kit.Must(w.Update(ctx, found))
	kit.Equal("conditions after a write of the spec", len(w.get(ctx, "south").Status.Conditions), 2)
	scale := &autoscalingv1.Scale{}
	kit.Must(w.SubResource("scale").Get(ctx, found, scale))
	kit.Equal("scale", []int32{scale.Spec.Replicas, scale.Status.Replicas}, []int32{1, 1})
	scale.Spec.Replicas = 2
	kit.Must(w.SubResource("scale").Update(ctx, found, client.WithSubResourceBody(scale)))
	w.settled(ctx, "south", 2)
}

func (w *World) kept(ctx context.Context) {
	found := w.get(ctx, "south")
	kit.Must(w.Patch(ctx, found, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"keep":"yes"}}}`))))
	kit.Refused(w.Delete(ctx, found), apierrors.IsForbidden, "this harbour is to be kept")
	kit.Refused(w.DeleteAllOf(ctx, &api.Harbour{}, client.InNamespace(ns), client.MatchingFields{"metadata.name": "south"}), apierrors.IsForbidden, "this harbour is to be kept")
	kit.Must(w.Patch(ctx, found, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"keep":null}}}`))))
}

func (w *World) gone(ctx context.Context) {
	for name, propagation := range map[string]metav1.DeletionPropagation{"north": metav1.DeletePropagationBackground, "south": metav1.DeletePropagationForeground} {
		kit.Must(w.Delete(ctx, w.get(ctx, name), client.PropagationPolicy(propagation)))
		kit.Wait(ctx, name+" goes", func() bool { return apierrors.IsNotFound(w.Get(ctx, key(name), &api.Harbour{})) })
		kit.Must(w.Get(ctx, key("farewell-"+name), &corev1.ConfigMap{}))
		kit.Eventually(ctx, func() error {
			for _, list := range []client.ObjectList{&appsv1.ReplicaSetList{}, &corev1.PodList{}} {
				kit.Must(w.List(ctx, list, client.InNamespace(ns), client.MatchingLabels{"harbour": name}))
				if n := meta.LenList(list); n > 0 {
					return fmt.Errorf("%d left of %T", n, list)
				}
			}
			for _, o := range []client.Object{&appsv1.Deployment{}, &corev1.ConfigMap{}} {
				if err := w.Get(ctx, key(name), o); !apierrors.IsNotFound(err) {
					return fmt.Errorf("%T: %v", o, err)
				}
			}
			return nil
		})
	}
}

func (w *World) listed(ctx context.Context) {
	watching := kit.Got(client.NewWithWatch(w.config, client.Options{Scheme: w.scheme}))
	for n := range 3 {
		kit.Must(w.Create(ctx, harbour(fmt.Sprintf("list-%d", n), api.Spec{Berths: int32(n), Motto: "m"})))
	}
	old := &api.OldHarbourList{}
	kit.Must(w.List(ctx, old, client.InNamespace(ns)))
	sizes := []int32{}
	for _, item := range old.Items {
		sizes = append(sizes, item.Spec.Size)
	}
	kit.Equal("sizes", sizes, []int32{0, 1, 2})
	events := kit.Got(watching.Watch(ctx, &api.OldHarbourList{}, client.InNamespace(ns), &client.ListOptions{
		Raw: &metav1.ListOptions{ResourceVersion: old.ResourceVersion},
	}))
	defer events.Stop()
	kit.Must(w.Create(ctx, harbour("list-3", api.Spec{Berths: 3, Motto: "m"})))
	end := time.After(30 * time.Second)
	for {
		select {
		case event := <-events.ResultChan():
			if found, is := event.Object.(*api.OldHarbour); is && found.Name == "list-3" {
				kit.Equal("size", found.Spec.Size, int32(3))
				return
			}
		case <-end:
			kit.Fail("the watch of the older version said nothing of list-3")
		}
	}
}
