package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	appsac "k8s.io/client-go/applyconfigurations/apps/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/pager"
	"k8s.io/client-go/util/retry"

	"clients/kit"
)

const protobuf = "application/vnd.kubernetes.protobuf"

func (w *World) writing() []kit.Claim {
	return []kit.Claim{
		{Name: "kinds are found by discovery, also by their short names", Check: w.kindsAreFound},
		{Name: "typed writes and their answers go in protobuf", Check: w.writesGoInProtobuf},
		{Name: "refusals are told apart by their reasons", Check: w.refusals},
		{Name: "server-side apply takes typed configurations", Check: w.apply},
		{Name: "concurrent writers that retry lose nothing", Check: w.retries},
		{Name: "lists come in pages of one moment", Check: w.pages},
		{Name: "scale, eviction, binding, tokens and logs have doors of their own", Check: w.doors},
	}
}

func (w *World) kindsAreFound(ctx context.Context) {
	client := kit.Got(discovery.NewDiscoveryClientForConfig(w.config))
	_, lists, err := client.ServerGroupsAndResources()
	kit.Must(err)
	if len(lists) < 10 {
		kit.Fail("only %d groups and versions", len(lists))
	}
	cached := memory.NewMemCacheClient(client)
	mapper := restmapper.NewShortcutExpander(restmapper.NewDeferredDiscoveryRESTMapper(cached), cached, nil)
	mapping := kit.Got(mapper.RESTMapping(schema.GroupKind{Group: "apps", Kind: "Deployment"}))
	kit.Equal("resource", mapping.Resource, schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"})
	kit.Equal("scope", mapping.Scope.Name(), meta.RESTScopeNameNamespace)
	for short, kind := range map[string]string{"deploy": "Deployment", "po": "Pod", "crd": "CustomResourceDefinition", "leases": "Lease", "node": "Node"} {
		found := kit.Got(mapper.KindFor(schema.GroupVersionResource{Resource: short}))
		kit.Equal("kind of "+short, found.Kind, kind)
	}
	paths := kit.Got(client.OpenAPIV3().Paths())
	kit.Got(paths["apis/apps/v1"].Schema("application/json"))
	if len(kit.Got(client.OpenAPISchema()).GetDefinitions().GetAdditionalProperties()) < 100 {
		kit.Fail("the older document describes too little")
	}
}

func deployment(name string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	grace := int64(1)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: &grace,
					Containers:                    []corev1.Container{{Name: "main", Image: "registry.example/web:1"}},
				},
			},
		},
	}
}

func (w *World) available(ctx context.Context, name string, replicas int32) *appsv1.Deployment {
	var found *appsv1.Deployment
	kit.Eventually(ctx, func() (err error) {
		if found, err = w.client.AppsV1().Deployments(ns).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		s := found.Status
		if s.ObservedGeneration != found.Generation || s.Replicas != replicas || s.AvailableReplicas != replicas || s.UpdatedReplicas != replicas {
			return fmt.Errorf("%s: %+v", name, s)
		}
		return nil
	})
	return found
}

func (w *World) writesGoInProtobuf(ctx context.Context) {
	from := w.wire.Count()
	deployments := w.client.AppsV1().Deployments(ns)
	made := kit.Got(deployments.Create(ctx, deployment("web", 2), metav1.CreateOptions{FieldManager: "informer"}))
	kit.Equal("default of the strategy", made.Spec.Strategy.Type, appsv1.RollingUpdateDeploymentStrategyType)
	kit.Equal("first manager", made.ManagedFields[0].Manager, "informer")
	found := w.available(ctx, "web", 2)
	found.Spec.Template.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "A", Value: "1"}}
	found = kit.Got(deployments.Update(ctx, found, metav1.UpdateOptions{}))
	kit.Equal("what was updated", found.Spec.Template.Spec.Containers[0].Env[0].Value, "1")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, StringData: map[string]string{"k": "v"}, Data: map[string][]byte{"raw": {0, 255}}}
	kept := kit.Got(w.client.CoreV1().Secrets(ns).Create(ctx, secret, metav1.CreateOptions{}))
	kit.Equal("bytes", kept.Data, map[string][]byte{"k": []byte("v"), "raw": {0, 255}})
	claim := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "made-"}, BinaryData: map[string][]byte{"b": {1, 2}}}
	named := kit.Got(w.maps().Create(ctx, claim, metav1.CreateOptions{}))
	dry := kit.Got(w.maps().Create(ctx, claim, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}))
	_, err := w.maps().Get(ctx, dry.Name, metav1.GetOptions{})
	kit.Refused(err, apierrors.IsNotFound, dry.Name)
	uid := types.UID("00000000-0000-0000-0000-000000000000")
	err = w.maps().Delete(ctx, named.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	kit.Refused(err, apierrors.IsConflict, "the UID in the precondition")
	kit.Must(w.maps().Delete(ctx, named.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &named.UID, ResourceVersion: &named.ResourceVersion}}))
	pods := kit.Got(w.client.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: "app=web"}))
	pod := &pods.Items[0]
	pod.Status.Message = "seen"
	pod = kit.Got(w.client.CoreV1().Pods(ns).Patch(ctx, pod.Name, types.StrategicMergePatchType, []byte(`{"metadata":{"annotations":{"seen":"1"}}}`), metav1.PatchOptions{}))
	kit.Equal("annotation", pod.Annotations["seen"], "1")
	for _, asked := range w.wire.Since(from) {
		if asked.Method == "POST" || asked.Method == "PUT" || asked.Method == "DELETE" {
			kit.Equal("content sent by "+asked.Method+" "+asked.Path, asked.Sent, protobuf)
		}
		kit.Equal("content given to "+asked.Method+" "+asked.Path, asked.Given, protobuf)
	}
}

func (w *World) refusals(ctx context.Context) {
	w.create(ctx, "refusals", "once", "1")
	_, err := w.maps().Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "once"}}, metav1.CreateOptions{})
	kit.Refused(err, apierrors.IsAlreadyExists, `configmaps "once" already exists`)
	_, err = w.maps().Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "Not_A_Name"}}, metav1.CreateOptions{})
	kit.Refused(err, apierrors.IsInvalid, "metadata.name", "RFC 1123")
	_, err = w.client.CoreV1().ConfigMaps("conformance-nowhere").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.CreateOptions{})
	kit.Refused(err, apierrors.IsNotFound, `namespaces "conformance-nowhere" not found`)
	wrong := deployment("wrong", 1)
	wrong.Spec.Template.Labels = map[string]string{"app": "other"}
	_, err = w.client.AppsV1().Deployments(ns).Create(ctx, wrong, metav1.CreateOptions{})
	kit.Refused(err, apierrors.IsInvalid, "spec.template.metadata.labels", "`selector` does not match template `labels`")
	cause, has := apierrors.StatusCause(err, metav1.CauseTypeFieldValueInvalid)
	kit.Equal("cause", has && cause.Field == "spec.template.metadata.labels", true)
	stale := kit.Got(w.maps().Get(ctx, "once", metav1.GetOptions{}))
	w.set(ctx, "once", "2")
	_, err = w.maps().Update(ctx, stale, metav1.UpdateOptions{})
	kit.Refused(err, apierrors.IsConflict, "the object has been modified; please apply your changes to the latest version and try again")
}

func (w *World) apply(ctx context.Context) {
	one, two := metav1.ApplyOptions{FieldManager: "one"}, metav1.ApplyOptions{FieldManager: "two"}
	deployments := w.client.AppsV1().Deployments(ns)
	labels := map[string]string{"app": "applied"}
	wanted := appsac.Deployment("applied", ns).WithLabels(labels).WithSpec(appsac.DeploymentSpec().
		WithReplicas(1).
		WithSelector(metaac.LabelSelector().WithMatchLabels(labels)).
		WithTemplate(coreac.PodTemplateSpec().WithLabels(labels).WithSpec(coreac.PodSpec().
			WithTerminationGracePeriodSeconds(1).
			WithContainers(coreac.Container().WithName("main").WithImage("registry.example/web:1")))))
	first := kit.Got(deployments.Apply(ctx, wanted, one))
	extracted := kit.Got(appsac.ExtractDeployment(first, "one"))
	kit.Equal("what is one's", *extracted.Spec.Template.Spec.Containers[0].Image, "registry.example/web:1")
	same := w.available(ctx, "applied", 1)
	again := kit.Got(deployments.Apply(ctx, wanted, one))
	kit.Equal("generation after an apply that changes nothing", again.Generation, same.Generation)
	side := appsac.Deployment("applied", ns).WithSpec(appsac.DeploymentSpec().WithTemplate(coreac.PodTemplateSpec().WithSpec(coreac.PodSpec().
		WithContainers(coreac.Container().WithName("side").WithImage("registry.example/side:1")))))
	both := kit.Got(deployments.Apply(ctx, side, two))
	kit.Equal("containers of both", len(both.Spec.Template.Spec.Containers), 2)
	taken := appsac.Deployment("applied", ns).WithSpec(appsac.DeploymentSpec().WithReplicas(3))
	_, err := deployments.Apply(ctx, taken, two)
	kit.Refused(err, apierrors.IsConflict, `conflict with "one"`, ".spec.replicas")
	two.Force = true
	forced := kit.Got(deployments.Apply(ctx, taken, two))
	kit.Equal("replicas that were taken", *forced.Spec.Replicas, int32(3))
	kit.Equal("containers after two gave its one up", len(forced.Spec.Template.Spec.Containers), 1)
	owners := map[string]bool{}
	for _, entry := range forced.ManagedFields {
		owners[entry.Manager+"/"+string(entry.Operation)+"/"+entry.Subresource] = true
	}
	kit.Equal("owners", owners["one/Apply/"] && owners["two/Apply/"], true)
	status := coreac.ConfigMap("applied", ns).WithData(map[string]string{"a": "1"})
	kit.Got(w.client.CoreV1().ConfigMaps(ns).Apply(ctx, status, one))
	kit.Must(deployments.Delete(ctx, "applied", metav1.DeleteOptions{}))
}

func (w *World) retries(ctx context.Context) {
	w.create(ctx, "retries", "counter", "0")
	patience := retry.DefaultRetry
	patience.Steps = 200
	var all sync.WaitGroup
	errs := make(chan error, 5)
	for range 5 {
		all.Go(func() {
			for range 10 {
				err := retry.RetryOnConflict(patience, func() error {
					found, err := w.maps().Get(ctx, "counter", metav1.GetOptions{})
					if err != nil {
						return err
					}
					var n int
					fmt.Sscan(found.Data["v"], &n)
					found.Data["v"] = fmt.Sprint(n + 1)
					_, err = w.maps().Update(ctx, found, metav1.UpdateOptions{})
					return err
				})
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-errs:
		kit.Must(err)
	default:
	}
	kit.Equal("count", kit.Got(w.maps().Get(ctx, "counter", metav1.GetOptions{})).Data["v"], "50")
}

func (w *World) pages(ctx context.Context) {
	for n := range 10 {
		w.create(ctx, "pages", fmt.Sprintf("page-%d", n), "1")
	}
	versions, added := map[string]bool{}, 0
	list := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		options.LabelSelector = "group=pages"
		part, err := w.maps().List(ctx, options)
		if err == nil {
			versions[part.ResourceVersion] = true
			w.create(ctx, "pages", fmt.Sprintf("page-z%d", added), "1")
			added++
		}
		return part, err
	})
	list.PageSize, list.PageBufferSize = 3, 0
	names := []string{}
	kit.Must(list.EachListItem(ctx, metav1.ListOptions{}, func(item runtime.Object) error {
		names = append(names, item.(*corev1.ConfigMap).Name)
		return nil
	}))
	if len(names) != 10 || added < 4 {
		kit.Fail("%d pages gave %v", added, names)
	}
	kit.Equal("versions of the pages", len(versions), 1)
	kit.Must(w.client.CoreV1().ConfigMaps(ns).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "group=pages"}))
	kit.Equal("left of the collection", len(kit.Got(w.maps().List(ctx, metav1.ListOptions{LabelSelector: "group=pages"})).Items), 0)
}

func (w *World) doors(ctx context.Context) {
	deployments, pods := w.client.AppsV1().Deployments(ns), w.client.CoreV1().Pods(ns)
	scale := kit.Got(deployments.GetScale(ctx, "web", metav1.GetOptions{}))
	scale.Spec.Replicas = 3
	kit.Got(deployments.UpdateScale(ctx, "web", scale, metav1.UpdateOptions{}))
	w.available(ctx, "web", 3)

	three := intstr.FromInt32(3)
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: policyv1.PodDisruptionBudgetSpec{
		MinAvailable: &three, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
	}}
	kit.Got(w.client.PolicyV1().PodDisruptionBudgets(ns).Create(ctx, budget, metav1.CreateOptions{}))
	kit.Wait(ctx, "the budget counts three healthy pods", func() bool {
		return kit.Got(w.client.PolicyV1().PodDisruptionBudgets(ns).Get(ctx, "web", metav1.GetOptions{})).Status.CurrentHealthy == 3
	})
	found := kit.Got(pods.List(ctx, metav1.ListOptions{LabelSelector: "app=web", FieldSelector: "status.phase=Running"}))
	var pod corev1.Pod
	for _, item := range found.Items {
		if item.DeletionTimestamp == nil {
			pod = item
		}
	}
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: ns}}
	err := w.client.PolicyV1().Evictions(ns).Evict(ctx, eviction)
	kit.Refused(err, apierrors.IsTooManyRequests, "Cannot evict pod as it would violate the pod's disruption budget.")
	kit.Must(w.client.PolicyV1().PodDisruptionBudgets(ns).Delete(ctx, "web", metav1.DeleteOptions{}))
	kit.Eventually(ctx, func() error { return w.client.PolicyV1().Evictions(ns).Evict(ctx, eviction) })
	kit.Wait(ctx, "the evicted pod goes", func() bool {
		left, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err) || err == nil && left.UID != pod.UID
	})

	lone := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "lone"}, Spec: corev1.PodSpec{
		SchedulerName: "conformance.example/nobody", Containers: []corev1.Container{{Name: "main", Image: "registry.example/web:1"}},
	}}
	kit.Got(pods.Create(ctx, lone, metav1.CreateOptions{}))
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "lone", Namespace: ns}, Target: corev1.ObjectReference{Kind: "Node", Name: pod.Spec.NodeName}}
	kit.Must(pods.Bind(ctx, binding, metav1.CreateOptions{}))
	kit.Equal("node of the bound pod", kit.Got(pods.Get(ctx, "lone", metav1.GetOptions{})).Spec.NodeName, pod.Spec.NodeName)
	kit.Refused(pods.Bind(ctx, binding, metav1.CreateOptions{}), apierrors.IsConflict, "is already assigned to node")

	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: "lone"}}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "lone"}}
	kit.Got(w.client.CoreV1().ServiceAccounts(ns).Create(ctx, account, metav1.CreateOptions{}))
	_, err = w.client.CoreV1().ServiceAccounts(ns).CreateToken(ctx, "lone", request, metav1.CreateOptions{})
	kit.Refused(err, apierrors.IsBadRequest, "cannot bind token for serviceaccount")
	request.Spec.BoundObjectRef = nil
	token := kit.Got(w.client.CoreV1().ServiceAccounts(ns).CreateToken(ctx, "lone", request, metav1.CreateOptions{})).Status
	if token.Token == "" || !token.ExpirationTimestamp.After(time.Now()) {
		kit.Fail("token %+v", token)
	}
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token.Token}}
	reviewed := kit.Got(w.client.AuthenticationV1().TokenReviews().Create(ctx, review, metav1.CreateOptions{})).Status
	kit.Equal("whose token", reviewed.User.Username, "system:serviceaccount:"+ns+":lone")

	if w.isOurs() {
		// A foreign server cannot know that nobody listens on a simulated node.
		kit.Wait(ctx, "the bound pod runs", func() bool {
			return kit.Got(pods.Get(ctx, "lone", metav1.GetOptions{})).Status.Phase == corev1.PodRunning
		})
		stream := kit.Got(pods.GetLogs("lone", &corev1.PodLogOptions{}).Stream(ctx))
		kit.Got(io.ReadAll(stream))
	}
	_, err = pods.GetLogs("lone", &corev1.PodLogOptions{Container: "absent"}).Stream(ctx)
	kit.Refused(err, apierrors.IsBadRequest, "container absent is not valid for pod lone")
}
